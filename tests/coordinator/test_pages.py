"""The coordinator's pages: what each role sees of nodes, runs and models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from starlette.testclient import TestClient

from audit.portal.frame import csrf_of
from audit.staff import StaffRole
from coordinator.staff import COOKIES
from policies.terms import plan_to_dict
from tests.coordinator.fleet import make_plan
from tests.coordinator.test_audiences import _app
from tests.coordinator.test_evaluation import EVALUATION
from tests.coordinator.test_service import Centre, centre

__all__ = ["centre"]
PAGES = ("/federation", "/models", "/insight")


@pytest.fixture
def site(centre: Centre) -> Iterator[TestClient]:
    """Return a browser at a coordinator with a finished run and its release."""
    centre.enrol_all()
    plan = make_plan(rounds=2, evaluation=EVALUATION)
    accepted = centre.client.plan(plan_to_dict(plan))
    run = centre.client.start_run(accepted["digest"], approved_by="jo")
    assert centre.wait(run["run"])["state"] == "completed"
    centre.client.publish_release(run=run["run"], approved_by="jo")
    with TestClient(_app(centre), base_url="https://centre.example") as http:
        yield http


def _as(centre: Centre, http: TestClient, role: StaffRole) -> dict[str, str]:
    access = centre.service.access("")
    session = access.sessions.open(access.accounts.known(role.value), method="test")
    http.cookies.set(COOKIES.session, session, domain="centre.example")
    return {"X-CSRF-Token": csrf_of({COOKIES.session: session}, COOKIES)}


def _run(centre: Centre) -> str:
    return str(centre.service.journal.runs()[-1].run)


@pytest.mark.parametrize("role", list(StaffRole))
def test_every_role_sees_federation_and_models(
    centre: Centre, site: TestClient, role: StaffRole
) -> None:
    """What the centre knows is about no person, so whoever works here may see it."""
    _as(centre, site, role)
    for path in (*PAGES, f"/federation/runs/{_run(centre)}", "/models/release-1"):
        answer = site.get(path)
        assert answer.status_code == 200, path
        assert "Federation" in answer.text
        assert len(answer.content) < 150_000


def test_nobody_sees_a_page_without_signing_in(centre: Centre, site: TestClient) -> None:
    """Each page sends a person to sign in and comes back."""
    for path in (*PAGES, f"/federation/runs/{_run(centre)}", "/models/release-1"):
        answer = site.get(path, headers={"Accept": "text/html"}, follow_redirects=False)
        assert answer.headers["location"].startswith("/sign-in?next=")


def test_a_run_tells_what_it_cost_and_what_it_learned(centre: Centre, site: TestClient) -> None:
    """State, three accountants, k nodes, rounds, and the noisy figures with their interval."""
    _as(centre, site, StaffRole.AUDITOR)
    shown = site.get(f"/federation/runs/{_run(centre)}").text
    assert ">completed<" in shown
    assert "1.900" in shown
    assert "2.70" in shown
    assert "aggregated" in shown
    assert " to " in shown
    assert "Stop this run" not in shown


def test_charts_are_drawings_with_words(centre: Centre, site: TestClient) -> None:
    """Each is SVG without script, and the page says in words what it shows."""
    _as(centre, site, StaffRole.DATA_SCIENTIST)
    run = f"/federation/runs/{_run(centre)}"
    page = site.get(run).text
    for path in ("/federation/accuracy.svg", f"{run}/participation.svg", f"{run}/accuracy.svg"):
        drawn = site.get(path)
        assert drawn.headers["content-type"] == "image/svg+xml"
        drawing = ET.fromstring(drawn.text)  # noqa: S314 (our own)
        tags = {element.tag.split("}")[-1] for element in drawing.iter()}
        assert tags <= {"svg", "g", "path", "text", "rect", "line", "defs", "clipPath", "title"}
    assert f'<img src="{run}/participation.svg" alt="Bars of replies in 2 rounds' in page


def test_a_run_is_stopped_by_who_may_after_a_question(centre: Centre, site: TestClient) -> None:
    """An auditor may not; an officer is asked first, and a run that is over stays as it ended."""
    path = f"/federation/runs/{_run(centre)}/stop"
    assert site.post(path, headers=_as(centre, site, StaffRole.AUDITOR)).status_code == 403
    token = _as(centre, site, StaffRole.OFFICER)
    asked = site.post(path, data={"csrf": token["X-CSRF-Token"]})
    assert "stays spent" in asked.text
    done = site.post(path, data={"csrf": token["X-CSRF-Token"], "sure": "yes"})
    assert ">completed<" in done.text


def test_a_model_shows_its_card_and_where_it_came_from(centre: Centre, site: TestClient) -> None:
    """Use, limits, cost, gaps or that none is stated, run and plan, and who loaded it."""
    _as(centre, site, StaffRole.DPO)
    shown = site.get("/models/release-1").text
    assert "never about employees" in shown
    assert "The card states no gaps" in shown
    assert "evaluation_set" in shown
    assert '<img src="/models/release-1/attacks.svg" alt="A curve' in shown
    assert site.get("/models/release-1/attacks.svg").headers["content-type"] == "image/svg+xml"
    assert site.get("/models/release-1/fairness.svg").status_code == 404
    assert ">Data</span>" in shown
    assert f"/federation/runs/{_run(centre)}" in shown
    assert "not built" in shown


def test_tables_are_saved_as_csv(centre: Centre, site: TestClient) -> None:
    """The run's rounds as a file, whole digests in it."""
    _as(centre, site, StaffRole.AUDITOR)
    saved = site.get(f"/federation/runs/{_run(centre)}?format=csv&table=rounds")
    assert saved.headers["content-type"].startswith("text/csv")
    assert saved.text.startswith("Round,State,Replies that counted")
    assert len(saved.text.strip().splitlines()) == 3


@pytest.mark.parametrize("path", ["/federation/runs/none", "/models/none", "/federation/runs/%00"])
def test_what_is_not_there_is_one_line(centre: Centre, site: TestClient, path: str) -> None:
    """An unknown run or release is a clear 404."""
    _as(centre, site, StaffRole.OFFICER)
    answer: Any = site.get(path)
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_an_empty_centre_says_what_there_will_be(centre: Centre) -> None:
    """Before anything happened each page teaches how to begin."""
    http = TestClient(_app(centre), base_url="https://centre.example")
    _as(centre, http, StaffRole.OPERATOR)
    assert "No run yet" in http.get("/federation").text
    assert "Nothing is published" in http.get("/models").text


def test_a_stop_at_the_trust_service_is_told_here(centre: Centre, site: TestClient) -> None:
    """The page of runs says that everything is stopped, and who lifts it."""
    _as(centre, site, StaffRole.AUDITOR)
    assert "Everything is stopped" not in site.get("/federation").text
    centre.trust.decree(stopped=True)
    centre.hear()
    assert "Everything is stopped" in site.get("/federation").text
