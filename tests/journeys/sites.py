"""Both sites of the portal over a made-up month, as every test of all pages meets them.

Each page is drawn in process, without a socket, and remembers which template drew it: so a test
can say that no page and no template was left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, unquote, urldefrag, urlsplit

from fastapi import FastAPI
from jinja2 import Environment
from starlette.routing import compile_path
from starlette.testclient import TestClient

from audit.considered import COMPLETE
from audit.decisions_about import decisions_about
from audit.portal.access import Access
from audit.portal.audience_api import routes_of
from audit.portal.frame import csrf_of
from audit.staff import StaffRole
from consent.acts import Person
from consent.api import create_app
from consent.capture import Channel
from consent.records import Invitation, Requested, Unconfirmed
from consent.rights import Identity, Right
from deploy.portal import make_history
from deploy.portal_history import PEOPLE, History, MovedClock
from policies.terms import plan_to_dict
from policies.vocabulary import AgeBand, Modality, Purpose, Role, SubjectId
from tests.coordinator.fleet import make_plan
from tests.coordinator.test_audiences import _app as centre_app
from tests.coordinator.test_evaluation import EVALUATION
from tests.coordinator.test_service import Centre, open_centre
from tests.journeys.markup import Markup, read

END = 1_800_000_000.0
HOST = "https://portal.example"
READERS = (None, *StaffRole)
HTML = {"accept": "text/html"}
_FRAME = frozenset({"frame.html", "macros.html", "customer.html", "parts.html"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One answer: what was asked, what came, and which template drew it."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: str
    template: str
    via: str = ""
    """The page whose link led here."""

    @property
    def is_page(self) -> bool:
        """Return whether it is one for a person to read."""
        return self.headers.get("content-type", "").startswith("text/html")

    @property
    def markup(self) -> Markup:
        """Return it read."""
        return read(self.path, self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route of an app, for whom it is, and which paths it answers."""

    method: str
    path: str
    roles: frozenset[StaffRole]
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, method: str, path: str, roles: frozenset[StaffRole]) -> Route:
        """Return a route of the app's table."""
        return cls(method=method, path=path, roles=roles, pattern=compile_path(path)[0])

    def fits(self, path: str) -> bool:
        """Return whether it answers a path."""
        return self.pattern.match(unquote(path)) is not None


@dataclass(slots=True, kw_only=True)
class Site:
    """One service's pages, and who works there."""

    name: str
    app: FastAPI
    service: Any
    """What it is made over."""
    access: Access
    staff: Mapping[StaffRole, str]
    starts: tuple[str, ...]
    """Where a walk begins: addresses that no page links to."""
    posts: tuple[tuple[str, dict[str, str]], ...]
    """Forms that are answered by a page and change nothing."""
    templates: tuple[Path, ...]
    clock: MovedClock
    folder: Path
    """Where everything that it keeps lies."""
    branches_answer: Callable[[], None] = lambda: None
    """Lets what was asked about a person come back from their branches."""
    decided_about: str = ""
    """Whose decisions a branch can tell."""
    drew: list[str] = field(default_factory=list)
    once: list[Drawn] = field(default_factory=list)
    _routes: list[Route] = field(default_factory=list)
    _walked: dict[StaffRole | None, list[Drawn]] = field(default_factory=dict)

    def visitor(self, role: StaffRole | None) -> Visitor:
        """Return a browser in which somebody of a role is signed in, or nobody."""
        http = TestClient(self.app, base_url=HOST, follow_redirects=False)
        csrf = ""
        if role is not None:
            account = self.access.accounts.known(self.staff[role])
            session = self.access.sessions.open(account, method="test")
            http.cookies.set(self.access.cookies.session, session, domain="portal.example")
            csrf = csrf_of({self.access.cookies.session: session}, self.access.cookies)
        return Visitor(site=self, http=http, csrf=csrf)

    def routes(self) -> list[Route]:
        """Return every route."""
        self._routes = self._routes or [Route.of(*row) for row in routes_of(self.app)]
        return self._routes

    def route(self, method: str, path: str) -> Route | None:
        """Return which route answers an address."""
        plain = urlsplit(path).path
        return next((r for r in self.routes() if r.method == method and r.fits(plain)), None)

    def walked(self, role: StaffRole | None) -> list[Drawn]:
        """Return what somebody of a role meets who follows links; walked once."""
        if role not in self._walked:
            self._walked[role] = walk(self.visitor(role))
        return self._walked[role]

    def every_template(self) -> set[str]:
        """Return the pages that this service could draw."""
        return {f.name for d in self.templates for f in d.glob("*.html")} - _FRAME


@dataclass(slots=True, kw_only=True)
class Visitor:
    """A browser without a picture."""

    site: Site
    http: TestClient
    csrf: str

    def get(self, path: str) -> Drawn:
        """Open an address."""
        return self.ask("GET", path)

    def post(self, path: str, fields: Mapping[str, str]) -> Drawn:
        """Send a form of this browser's."""
        return self.ask("POST", path, data={"csrf": self.csrf} | dict(fields))

    def ask(self, method: str, path: str, *, headers: Any = None, **sent: Any) -> Drawn:
        """Send anything."""
        self.site.drew.clear()
        answer = self.http.request(method, path, headers=HTML | dict(headers or {}), **sent)
        drew = [name for name in self.site.drew if name not in _FRAME]
        return Drawn(
            method=method,
            path=path,
            status=answer.status_code,
            headers=answer.headers,
            body=answer.text,
            template=drew[0] if drew else "",
        )


def walk(visitor: Visitor, *, alike: int = 4) -> list[Drawn]:
    """Return what following links from the starts leads to, each address once.

    Of addresses of one route that ask for the same names, no more than `alike` are opened.
    """
    waiting, seen, found = [(path, "") for path in visitor.site.starts], set[str](), list[Drawn]()
    kinds = Counter[tuple[str, ...]]()
    while waiting:
        path, via = waiting.pop(0)
        kind = _kind(visitor.site, path)
        if path in seen or kinds[kind] >= alike:
            continue
        seen.add(path)
        kinds[kind] += 1
        found.append(replace(visitor.get(path), via=via))
        waiting += [(further, path) for further in onward(found[-1])]
    return found + [visitor.post(path, fields) for path, fields in visitor.site.posts]


def _kind(site: Site, path: str) -> tuple[str, ...]:
    route, query = site.route("GET", path), urlsplit(path).query
    name = path if route is None or "{right}" in route.path else route.path
    return (name, *sorted(parse_qs(query)))


def onward(drawn: Drawn) -> list[str]:
    """Return the addresses of this site that an answer leads to."""
    if drawn.status in {303, 307, 308}:
        return [drawn.headers["location"]]
    if not drawn.is_page:
        return []
    there = (*drawn.markup.links, *drawn.markup.sources)
    return [where for link in there if (where := local(drawn.path, link))]


def local(path: str, link: str) -> str:
    """Return the address on this site that a link on a page leads to; none where it leads away."""
    link = urldefrag(link).url
    if not link or urlsplit(link).netloc:
        return ""
    return urlsplit(path).path + link if link.startswith("?") else link


@contextmanager
def both_sites(folder: Path) -> Iterator[dict[str, Site]]:
    """Open the trust service after its month, and a coordinator after its first run."""
    with trust_site(folder / "trust") as trust, centre_site(folder / "centre") as centre:
        yield {"trust": trust, "centre": centre}


@contextmanager
def trust_site(folder: Path) -> Iterator[Site]:
    """Open the trust service."""
    folder.mkdir()
    history = make_history(folder, end=END, people=12, uses=40, other_url=None)
    history.play()
    root = Path(__file__).parents[2]
    subject, links = _customers(history)
    site = Site(
        name="trust",
        app=create_app(history.service),
        service=history.service,
        access=history.service.access,
        staff={roles[0]: name for name, roles in PEOPLE.items()},
        starts=("/", "/sign-in", "/welcome", "/budget", "/my", "/check", *links),
        posts=(
            ("/people", {"subject": subject}),
            ("/people", {"subject": "nobody"}),
            ("/today/stop", {"reason": "incident"}),
            ("/decisions", {"subject": subject}),
            ("/people/requests/none/closing", {"outcome": "done"}),
        ),
        templates=(
            root / "audit/portal/templates",
            root / "consent/pages/templates",
            root / "consent/privacy_centre/templates",
        ),
        clock=history.clock,
        folder=folder,
        branches_answer=history.go_on,
        decided_about=_decided_about(history),
    )
    with _noted(site):
        yield site
    history.close()


def _decided_about(history: History) -> str:
    return next(
        subject
        for log in history._logs.values()
        for subject in history.service.ledger.people(log.node.company)
        if decisions_about(log.log, subject, log._permit)[0] == COMPLETE
    )


def _customers(history: History) -> tuple[str, list[str]]:
    """Let four people have links of each kind; return one's pseudonym, and the links."""
    service, node = history.service, history._nodes["harbour"]
    some = frozenset({Purpose.SERVICE, Purpose.TRAINING})
    granted = service.acts.grant(
        node, [(SubjectId(f"{n:032x}"), history.yes(some, 900 + n)) for n in range(3)]
    )
    subject = SubjectId(f"{0:032x}")
    invitation = Invitation(
        channel=Channel.KIOSK,
        until=int(END) + 9_000,
        valid_days=30,
        role=Role.CUSTOMER,
        age=AgeBand.UNKNOWN,
        vulnerabilities=frozenset(),
        jurisdiction="IE",
        confirm_hours=None,
    )
    asked = Requested(
        purposes=some,
        modalities=frozenset({Modality.TEXT}),
        notice_version=1,
        invitation=invitation,
    )
    invited = service.asking.invite(node, SubjectId("7" * 32), asked)
    yes = Unconfirmed(granted=history.yes(some, 990), until=int(END) + 9_000)
    waiting = service.acts.await_confirmation(node, SubjectId("8" * 32), yes)
    tokens = [_asked(history, company) for company in ("north-air", "without-a-branch")]
    links = [
        f"/my/{granted[0]['manage_token']}",
        f"/consent/{invited['invitation_token']}",
        f"/confirm/{waiting['confirmation_token']}",
        *(f"/asked/{token}" for token in tokens),
        f"/choices/{granted[0]['manage_token']}",
        "/my/none",
    ]
    return subject, links


def _asked(history: History, company: str) -> str:
    """Ask for access; where no branch has to answer, the answer is whole at once."""
    opened = history.service.rights.open(
        Right.ACCESS,
        Person(company=company, subject=SubjectId(f"{0:032x}"), node=None),
        by="dario",
        about={},
        jurisdiction="IE",
        method=Identity.MANAGE_TOKEN,
    )
    return str(opened["request_token"])


@contextmanager
def centre_site(folder: Path) -> Iterator[Site]:
    """Open a coordinator with a run that ended and its release."""
    folder.mkdir()
    clock = MovedClock(now=END)
    centre = open_centre(folder, clock=clock)
    _one_run(centre)
    root = Path(__file__).parents[2]
    app = centre_app(centre)
    run = centre.service.journal.runs()[-1].run
    site = Site(
        name="centre",
        app=app,
        service=centre.service,
        access=centre.service.access(""),
        staff={role: role.value for role in StaffRole},
        starts=("/", "/sign-in", "/welcome", "/budget"),
        posts=((f"/federation/runs/{run}/stop", {}),),
        templates=(root / "audit/portal/templates", root / "coordinator/pages/templates"),
        clock=clock,
        folder=folder,
    )
    with _noted(site):
        yield site
    centre.service.close()


def _one_run(centre: Centre) -> None:
    centre.enrol_all()
    accepted = centre.client.plan(plan_to_dict(make_plan(rounds=2, evaluation=EVALUATION)))
    run = centre.client.start_run(accepted["digest"], approved_by="jo")["run"]
    centre.wait(run)
    centre.client.publish_release(run=run, approved_by="jo")


@contextmanager
def _noted(site: Site) -> Iterator[None]:
    """Let a site know which templates it draws."""
    found = Environment.get_template

    def noting(self: Environment, name: Any, *given: Any, **named: Any) -> Any:
        site.drew.append(str(name))
        return found(self, name, *given, **named)

    with mock.patch.object(Environment, "get_template", noting):
        yield
