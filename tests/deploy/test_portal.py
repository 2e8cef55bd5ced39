"""`make portal`: a short month at both services, through their own desks, over one clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from audit.portal.access import Access
from audit.portal.passwords import Passwords
from consent.api import create_app
from coordinator.api import create_app as create_centre_app
from coordinator.plan import Preview
from deploy.portal import make_history, play
from deploy.portal_centre import Centre, make_centre
from deploy.portal_history import PEOPLE, History
from models.card import CALIBRATION_ERROR
from tests.coordinator.test_service import cheap_accountant

TRUST, CENTRE = "https://localhost:8443", "https://localhost:8444"


def _cheap(draft: Mapping[str, Any]) -> Preview:
    """Cost a plan at once: it is held to cost what it declares."""
    noisy = draft["mechanism"] | {"noise_multiplier": 2.0}
    found = cheap_accountant(dict(draft) | {"mechanism": noisy})
    return replace(found, epsilon=found.plan.epsilon)


@dataclass(slots=True, kw_only=True)
class Sites:
    """Both services after the month, and a browser at each."""

    history: History
    centre: Centre
    trust_site: TestClient
    centre_site: TestClient

    def sign_in(self, name: str) -> None:
        """Sign somebody in at both."""
        there, here = self.history.service.access, self.centre.service.access("")
        _sign_in(self.trust_site, there, name)
        if here.ledger.account(name) is None:  # as the first sign-in by the trust service does
            here.accounts.add(name, PEOPLE[name], by="bootstrap")
        _sign_in(self.centre_site, here, name)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Play a month of few people."""
    folder = tmp_path_factory.mktemp("both")
    history = make_history(folder, end=1.8e9, people=12, uses=40, other_url=CENTRE)
    app = create_app(history.service)
    centre = make_centre(folder, history, app, url=TRUST, port=8444, accountant=_cheap)
    for access in (history.service.access, centre.service.access(centre.token)):
        access._passwords = access.accounts._passwords = Passwords(
            PasswordHasher(time_cost=1, memory_cost=64)
        )
    play(history, centre)
    try:
        yield Sites(
            history=history,
            centre=centre,
            trust_site=TestClient(app, base_url=TRUST),
            centre_site=TestClient(
                create_centre_app(centre.service, admin_token=centre.token), base_url=CENTRE
            ),
        )
    finally:
        centre.service.close()
        history.close()


def _sign_in(browser: TestClient, access: Access, name: str) -> None:
    session = access.sessions.open(access.accounts.known(name), method="test")
    browser.cookies.set(access.cookies.session, session, domain="localhost.local")


def test_the_month_has_runs_of_every_end_and_measured_releases(sites: Sites) -> None:
    """Three runs that were released, one that a person stopped, one that found too few nodes."""
    states = [run.state.value for run in sites.centre.service.journal.runs()]
    assert sorted(states) == ["completed"] * 3 + ["failed", "stopped"]
    sites.sign_in("sam")
    assert "release-3" in sites.centre_site.get("/models").text
    card = sites.centre_site.get("/models/release-3").text
    assert "gap in error by age" in card
    assert CALIBRATION_ERROR in card


def test_each_site_leads_to_the_other(sites: Sites) -> None:
    """In the menu of either site are the areas of the other."""
    sites.sign_in("olga")
    assert f'href="{CENTRE}/federation"' in sites.trust_site.get("/today").text
    assert f'href="{TRUST}/today"' in sites.centre_site.get("/federation").text


@pytest.mark.parametrize("name", list(PEOPLE))
def test_everybody_begins_somewhere_at_both_sites(sites: Sites, name: str) -> None:
    """Whoever is printed with a code has an account, and a page to begin with, at each site."""
    sites.sign_in(name)
    for browser in (sites.trust_site, sites.centre_site):
        assert browser.get("/", headers={"Accept": "text/html"}).status_code == 200
    assert sites.history.codes[name]


def test_the_coordinators_log_is_witnessed_and_its_cards_are_at_the_trust_service(
    sites: Sites,
) -> None:
    """The two services met as real ones do: a cosignature here, the release's card there."""
    note = sites.centre.service.witnesses.witnessing.cosigned()
    assert note is not None
    assert sites.history.service.key.verify_key.name in note
    sites.sign_in("sam")
    assert "release-3" in sites.trust_site.get("/documents/technical").text


@pytest.mark.parametrize("name", list(PEOPLE))
def test_every_step_of_the_tour_is_open_to_whom_it_is_for(sites: Sites, name: str) -> None:
    """Each role has one at each site, without script; each link has what its step speaks of."""
    sites.sign_in(name)
    for browser in (sites.trust_site, sites.centre_site):
        page = browser.get("/tour").text
        steps = re.findall(r'<a href="([^"]+)" data-tour="[^"]+" data-target="([^"]+)"', page)
        assert steps
        for href, target in steps:
            shown = browser.get(href.replace("&amp;", "&"))
            assert shown.status_code == 200, href
            if target.startswith("#"):
                assert f'id="{target[1:]}"' in shown.text, (href, target)


def test_the_month_goes_on_in_one_direction_and_is_witnessed(sites: Sites) -> None:
    """No entry is earlier than the one before it; the branches cosigned the trust service's log."""
    log = sites.history.service.log
    times = [entry.event.at for entry in log.entries(0, log.size)]
    assert times == sorted(times)
    sites.sign_in("olga")
    evidence = sites.trust_site.get("/evidence").text
    assert "No witness has cosigned" not in evidence
    assert "harbour" in evidence


def test_a_coordinator_is_no_branch_that_fell_silent(sites: Sites) -> None:
    """It is named for what it is in the settings, and Today counts branches alone."""
    sites.sign_in("olga")
    assert ">coordinator</span>" in sites.trust_site.get("/settings").text
    today = sites.trust_site.get("/today").text
    assert re.search(
        r'<p class="figure">3</p>\s*<p class="quiet"><a [^>]*>Branches enrolled', today
    )
    assert "Node coordinator" not in today
    assert "station was not heard for" in today
    assert re.search(r"6 %</p>\s*<p class=\"quiet\"><a href=\"/budget\"", today)


def test_a_run_that_ended_early_says_so(sites: Sites) -> None:
    """Its plan measures, so nobody reads that it does not; and no round is still to come."""
    runs = sites.centre.service.journal.runs()
    (failed,) = (run.run for run in runs if run.state.value == "failed")
    sites.sign_in("sam")
    page = sites.centre_site.get(f"/federation/runs/{failed}").text
    assert "It ended before its first round." in page
    assert "It ended before anything was measured." in page
    assert "no run can start" in sites.centre_site.get("/federation").text
