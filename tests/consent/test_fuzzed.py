"""The service, fuzzed from its own description: whatever is sent, it answers and never breaks."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import openapi

from audit.portal.audience_api import describe
from audit.staff import Staff, StaffRole
from consent.api import create_app
from consent.open_api import AUDIENCES
from tests.consent.conftest import ADMIN, World
from tests.fuzzing import BY_DAY_AND_NIGHT, FEW

STAFF = "Bearer staff-of-this-test-in-every-role"
CALLERS = ["nobody", "node", "operator", "staff"]


def _send(world: World, app: FastAPI, case: Any, caller: str) -> httpx.Response:
    """Send a generated case as nobody, as a node, as an operator, or as staff in every role."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://trust") as client:
            given_ = case.as_transport_kwargs(base_url="https://trust")
            wanted = {n: given_[n] for n in ("json", "params", "data", "content") if n in given_}
            sent = {n: str(v).encode("utf-8", "replace") for n, v in given_["headers"].items()}
            request = client.build_request(case.method, given_["url"], headers=sent, **wanted)
            path = request.url.raw_path.decode()
            if caller == "node":
                signed = world.signed("north", case.method, path, request.read())
                request.headers.update(signed)
            if caller == "operator":
                request.headers["Authorization"] = f"Bearer {ADMIN}"
            if caller == "staff":
                request.headers["Authorization"] = STAFF
            return await client.send(request)

    return asyncio.run(send())


def _fuzz(world: World, app: FastAPI, *, examples: int, only: str = "/") -> int:
    known = app.state.admit
    everything = Staff(name="ada", roles=frozenset(StaffRole))
    app.state.admit = lambda request: (
        everything if request.headers.get("authorization") == STAFF else known(request)
    )
    schema = openapi.from_dict(describe(app, AUDIENCES))
    answered = 0
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]  # a broken description raises
        if not operation.path.startswith(only):
            continue

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # a failure is reported as found: to shrink one takes minutes
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), caller=st.sampled_from(CALLERS))
        def no_case_breaks(case: Any, caller: str) -> None:
            nonlocal answered
            answer = _send(world, app, case, caller)
            assert answer.status_code < 500, (case.method, case.path, answer.text)
            answered += 1

        no_case_breaks()
    return answered


@pytest.mark.parametrize("examples", BY_DAY_AND_NIGHT)
def test_no_generated_request_breaks_the_service(world: World, examples: int) -> None:
    """Generated requests to each route, as nobody, node, operator and staff: no 5xx."""
    assert _fuzz(world, create_app(world.service), examples=examples) > min(20 * examples, 1_000)


def test_a_route_that_breaks_is_seen(world: World) -> None:
    """The same fuzzing finds a route that fails on some input."""
    app = create_app(world.service)

    @app.get("/broken")
    def breaks(number: int) -> float:
        return 1 / (number * 0)

    with pytest.raises(AssertionError, match="broken"):
        _fuzz(world, app, examples=FEW, only="/broken")
