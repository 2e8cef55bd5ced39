"""The branch's interface: closed without a key, and with one nothing that is sent breaks it."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import openapi

from audit.http import BodyLimit
from client_node.api import MAX_BODY_BYTES
from tests.client_node.conftest import Api, World
from tests.fuzzing import BY_DAY_AND_NIGHT

OPEN = ("/healthz", "/openapi.json", "/asyncapi.json", "/panel")
"""What needs no key: health, the description, and the panel's page, which holds nothing itself."""


def test_every_route_of_a_node_but_health_needs_a_key(world: World) -> None:
    """Without a key, with a wrong one, or with another scheme nothing is shown or done."""
    api = world.api(world.open())
    judged = 0
    for route in iter_route_contexts(api.app.routes):
        path = (route.path or "").replace("{", "").replace("}", "")
        for method in sorted(route.methods or ()):
            if method == "HEAD" or (path.startswith(OPEN) and not path.startswith("/panel/api")):
                continue
            for given_ in ("", f"Bearer wrong-{judged}", f"Basic {api.headers['Authorization']}"):
                # Each from another address: too many wrong keys from one are told to wait.
                stranger = Api(api.app, {"Authorization": given_} if given_ else {}, f"a-{judged}")
                sent: dict[str, Any] = {} if method == "GET" else {"json": {}}
                answer = asyncio.run(stranger._send(method, path, sent))
                assert answer.status_code == 401, (method, path, given_)
                judged += 1
    assert judged > 50


def test_no_answer_of_a_node_is_kept_or_guessed_at(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Answers, refusals of every kind, and what broke outside the routes; the panel may be framed.

    What broke says and logs an id, and nothing of what was sent.
    """
    api = world.api(world.open(panel_frames=("https://crm.example",)))
    bodies: list[dict[str, Any]] = [{"json": {}}, {"content": b"\xff"}]
    bodies.append({"content": b"0" * (MAX_BODY_BYTES + 1)})
    answers = [
        *(api.get(path) for path in ("/v1/status", "/none", "/v1/turns")),
        api.get("/v1/status", headers={"Authorization": ""}),
        *(api.post("/v1/turns", **sent) for sent in bodies),
    ]
    with mock.patch.object(BodyLimit, "_limit", side_effect=ValueError("Ann is furious")):
        answers.append(api.post("/v1/turns", json={}))
    assert {a.status_code for a in answers} == {200, 400, 401, 404, 405, 413, 422, 500}
    assert answers[-1].json()["error_id"] in caplog.text
    assert "Ann" not in caplog.text + answers[-1].text
    for answer in [*answers, api.get("/panel")]:
        assert answer.headers["cache-control"] == "no-store", answer.status_code
        assert answer.headers["x-content-type-options"] == "nosniff", answer.status_code
        assert answer.headers["referrer-policy"] == "no-referrer", answer.status_code
        own = "https://crm.example" if answer.url.path == "/panel" else "'none'"
        assert f"frame-ancestors {own}" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("examples", BY_DAY_AND_NIGHT)
def test_no_generated_request_breaks_a_node(world: World, examples: int) -> None:
    """Generated requests to each route, by key: answered or refused, never broken."""
    api, answered = world.api(world.open()), 0
    for result in openapi.from_dict(api.app.openapi()).get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]  # a broken description raises
        if operation.path.endswith("/stream"):
            continue  # answers until one leaves

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def no_case_breaks(case: Any) -> None:
            nonlocal answered
            sent = case.as_transport_kwargs(base_url="http://node")
            kept = {n: sent[n] for n in ("json", "params", "data", "content") if n in sent}
            path = sent["url"].removeprefix("http://node")
            answer = asyncio.run(api._send(case.method, path, kept))
            assert answer.status_code != 500, (case.method, case.path, answer.text)
            answered += 1

        no_case_breaks()
    assert answered > 50
