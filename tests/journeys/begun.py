"""The pages that somebody meets once: a new account, its second factor, its codes, the way out."""

from __future__ import annotations

import re

from audit.staff import StaffRole
from deploy.portal_history import PASSWORD, one_time_code
from tests.journeys.sites import READERS, Drawn, Site

_DECISION = re.compile(r"/decisions/[0-9a-f]{32}(\?log=|$)")
_SECRET = re.compile(r"\b([A-Z2-7]{32})\b")


def every_page(site: Site) -> list[Drawn]:
    """Return all that readers of each role meet, and after that what is met once."""
    walked = [drawn for role in READERS for drawn in site.walked(role)]
    if not site.once:
        site.once += begin_and_leave(site)
        if site.name == "trust":
            site.once += [make_an_account(site), answer_a_question(site), *ask_for_facts(site)]
            site.once += ask_the_branches(site)
    return walked + site.once


def begin_and_leave(site: Site, name: str = "newcomer") -> list[Drawn]:
    """Begin as a new data scientist and sign out again; return each page on the way."""
    token = site.access.accounts.add(name, [StaffRole.DATA_SCIENTIST], by="bootstrap")
    new = site.visitor(None)
    csrf = new.get("/welcome").body.split('name="csrf" value="')[1].split('"')[0]
    own = {"csrf": csrf, "name": name, "token": token}
    factor = new.post("/welcome", own | {"password": PASSWORD})
    found = _SECRET.search(factor.body)
    assert found is not None
    code = one_time_code(found[1], site.clock.now)
    codes = new.post("/welcome/code", own | {"code": code})
    later = one_time_code(found[1], site.clock.now + 30)
    known = {"csrf": csrf, "name": name, "password": PASSWORD, "code": later}
    going = new.post("/sign-in", known | {"next": "/sign-on?state=a"})
    leaving = site.visitor(StaffRole.DPO)
    return [factor, codes, going, leaving.post("/sign-out", {})]


def make_an_account(site: Site, name: str = "second-newcomer") -> Drawn:
    """Return the page on which an operator sees a new account's one-time token."""
    return site.visitor(StaffRole.OPERATOR).post("/settings/people", {"name": name, "auditor": "1"})


def ask_for_facts(site: Site) -> list[Drawn]:
    """Return the pages on which an officer waits for a branch, and sees our own facts once."""
    officer, pages = site.visitor(StaffRole.OFFICER), list[Drawn]()
    for by in ("a+branch", "this+service"):
        listed = officer.get(f"/decisions?by={by}&action=infer")
        link = next(one for one in listed.markup.links if _DECISION.match(one))
        path, _, query = link.partition("?")
        asked = officer.post(
            f"{path}/facts" + (f"?{query}" if query else ""), {"why": "person", "reference": "A-1"}
        )
        pages.append(officer.get(asked.headers["location"]))
    return [*pages, officer.post(asked.headers["location"], {})]


def ask_the_branches(site: Site) -> list[Drawn]:
    """Return the pages on which an officer asks about a person, waits for branches, and guesses."""
    officer = site.visitor(StaffRole.OFFICER)
    about = {"subject": site.decided_about, "why": "person", "reference": "A-2"}
    asked = officer.post("/decisions/about", about)
    where = asked.headers["location"]
    waiting = officer.get(where)
    site.branches_answer()
    nobody = {"subject": "nobody", "why": "person", "reference": "A-3"}
    return [
        waiting,
        officer.get(where),
        officer.post(where, {}),
        officer.get("/decisions"),
        officer.post("/decisions/about", nobody),
    ]


def answer_a_question(site: Site) -> Drawn:
    """Return the page on which a customer is told that their answer counts."""
    (path,) = (start for start in site.starts if start.startswith("/consent/"))
    answer = {"answer": "yes", "purpose": "service", "adult": "yes", "language": "en"}
    return site.visitor(None).post(path, answer)
