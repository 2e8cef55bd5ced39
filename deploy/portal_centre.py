"""The coordinator's month beside the trust service's: plans, runs, rounds, releases.

Played through the coordinator's own service, under the governance that the made-up trust service
gives it, over the same clock. Only the branches are made up (`deploy.portal_branches`); the costs
of plans are the accountants' own.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from audit.portal.settings import PortalSettings, ProviderSettings
from audit.signing import SigningKey
from audit.staff import StaffRole
from consent.wire import NodeIn
from coordinator.courier import CourierQueue
from coordinator.governance_keeper import TrustClient
from coordinator.plan import preview
from coordinator.service import Accountant, CoordinatorService
from coordinator.settings import CoordinatorSettings
from deploy.portal_branches import ENCODER, FEATURES, LABELS, Branches, made_up_set, make_branch
from deploy.portal_history import DAY_S, DAYS, History
from policies.vocabulary import NodeId, RunId

NAME = "coordinator"
SECRET = "sign-on.secret"  # noqa: S105 (a file's name)
_PATIENCE_S = 60.0
_MECHANISM = {
    "clip": 1.0,
    "sample_rate": 0.2,
    "nominal_people": 2_000,
    "steps": 4,
    "learning_rate": 0.5,
    "momentum": 0.9,
    "max_turns": 4,
    "count_noise": 20.0,
}
_SCIENTIST = "sam"


@dataclass(slots=True)
class Line(httpx.BaseTransport):
    """The coordinator's way to the trust service: in this process until that is served."""

    app: Any
    served: httpx.BaseTransport | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request."""
        if self.served is not None:
            return self.served.handle_request(request)
        return asyncio.run(self._ask(request))

    def serve(self, authority: Path) -> None:
        """Go over the network from now on."""
        self.served = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=authority))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = await httpx.ASGITransport(app=self.app).handle_async_request(request)
        return httpx.Response(answer.status_code, content=await answer.aread())


@dataclass(slots=True, kw_only=True)
class Centre:
    """The coordinator as its month is played; `let_pass` does what is due by now."""

    history: History
    service: CoordinatorService
    branches: Branches
    line: Line
    token: str
    _due: Iterator[tuple[float, Callable[[], None]]] = field(init=False)
    _next: tuple[float, Callable[[], None]] | None = field(init=False)

    def __post_init__(self) -> None:
        self._due = self._acts()
        self._next = next(self._due)

    def let_pass(self) -> None:
        """Do everything that is due."""
        while self._next is not None and self._next[0] <= self._day:
            self._meet()
            self._next[1]()
            self._next = next(self._due, None)

    def end(self) -> None:
        """Have the last of the month known at both services, and go on by the machine's clock."""
        self.let_pass()
        self._meet()
        self.service.cards.bring()

    # -- the parts ----------------------------------------------------------------------

    @property
    def _day(self) -> float:
        return DAYS - (self.history.end - self.history.clock.now) / DAY_S

    def _acts(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """Yield what happens, each with its day of the month."""
        yield 1.0, self._found
        yield 6.0, lambda: self._run("careful", epsilon=1.0, rounds=6)
        yield 7.0, self._publish
        yield 11.0, lambda: self._run("wide", epsilon=3.0, rounds=6, stopped_at=5)
        yield 15.0, lambda: self._run("steady", epsilon=2.0, rounds=8)
        yield 16.0, self._publish
        yield 19.0, lambda: self._run("alone", epsilon=0.5, rounds=2, heard=1)
        yield 22.0, self._fall_silent
        yield 23.0, lambda: self._run("again", epsilon=1.5, rounds=8)
        yield 24.0, self._publish

    def _found(self) -> None:
        """Register the branches; the staff are the trust service's."""
        self.service.access(self.token)
        self.service.fleet.start()
        ours = self.service.log.key.verify_key
        for number, (name, key) in enumerate(self.history.keys.items(), 1):
            self.branches.branches[number] = make_branch(name, key, ours, seed=number)
            self.service.register_node(NodeId(name), key.verify_key, f"made up {number}")

    def _run(
        self, name: str, *, epsilon: float, rounds: int, stopped_at: int = 0, heard: int = 3
    ) -> None:
        """Hold one run; one that is stopped is so before that exchange, by a person."""
        accepted = self.service.accept_plan(draft(name, epsilon=epsilon, rounds=rounds))
        away, nodes = set(self.branches.away), [one.node for one in self._known()]
        self.branches.away |= set(nodes[heard:])
        if stopped_at:
            self.branches.before = _at(stopped_at, self._stop)
        run = self.service.running.start(accepted.digest, approved_by=_SCIENTIST)
        self._wait(run)
        self.branches.before, self.branches.away = (lambda: None), away

    def _stop(self) -> None:
        self.service.running.stop(self.service.journal.runs()[-1].run)

    def _publish(self) -> None:
        """Publish the newest run's head, and bring it to whoever is heard."""
        newest = self.service.journal.runs()[-1].run
        self.service.publisher.of_run(newest, approved_by=_SCIENTIST, abstain_below=0.5)
        self.service.delivery.catch_up(patient=False)

    def _fall_silent(self) -> None:
        self.branches.away.add(self._known()[-1].node)

    def _known(self) -> list[Any]:
        return list(self.branches.branches.values())

    def _meet(self) -> None:
        """Hear what the organisation approved, and have the log witnessed."""
        if self.service.keeper is not None:
            self.service.keeper.poll()
        self.service.witnesses.meet()

    def _wait(self, run: RunId) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not self.service.journal.run(run).state.final:
            if time.monotonic() > until:
                raise TimeoutError(f"the made-up run {run} does not end")
            time.sleep(0.01)


def draft(name: str, *, epsilon: float, rounds: int) -> dict[str, Any]:
    """Return a plan that is measured before, between and after its rounds."""
    return {
        "name": name,
        "labels": [[label, family.value] for label, family in LABELS],
        "features": FEATURES,
        "encoder_digest": ENCODER,
        "rounds": rounds,
        "epsilon": epsilon,
        "delta": 1e-5,
        "mechanism": dict(_MECHANISM),
        "minimum_people": 10,
        "minimum_nodes": 2,
        "deadline_s": 1.0,
        "evaluation": {"noise": 20.0, "every": 2, "patience": 0, "groups": "none"},
    }


def make_centre(
    folder: Path,
    history: History,
    trust: Any,
    *,
    url: str,
    port: int,
    accountant: Accountant = preview,
) -> Centre:
    """Return a coordinator in a folder, enrolled at the made-up trust service at `url`."""
    key = SigningKey.generate(NAME)
    key.save(folder / f"{NAME}.key")
    (folder / "judges.set").write_bytes(made_up_set(history.seed))
    enrolled = NodeIn(node=NAME, key=str(key.verify_key), company=NAME)
    history.service.enrolment.enrol(enrolled)
    settings = CoordinatorSettings(
        folder=folder / NAME,
        signing_key=folder / f"{NAME}.key",
        admin_token_file=folder / "admin.token",
        certificate=folder / "pki" / "portal.crt",
        private_key=folder / "pki" / "portal.key",
        authority=folder / "pki" / "authority.crt",
        port=port,
        trust_url=url,
        trust_ca=folder / "pki" / "authority.crt",
        trust_key=str(history.service.key.verify_key),
        evaluation_set=folder / "judges.set",
        most_calibration_error=0.3,
        most_gap=0.4,
        portal=PortalSettings(other_url=url, provider=_provider(folder, url, port)),
    )
    line = Line(trust)
    client = TrustClient(
        url, authority=settings.trust_ca, key=key, clock=history.clock, transport=line
    )
    made: list[Branches] = []

    def fleet(_: CoordinatorSettings, queue: CourierQueue) -> Branches:
        made.append(Branches(queue=queue, clock=history.clock))
        return made[0]

    service = CoordinatorService(
        settings, clock=history.clock, make_fleet=fleet, accountant=accountant, trust=client
    )
    token = settings.admin_token_file.read_text(encoding="ascii").strip()
    return Centre(history=history, service=service, branches=made[0], line=line, token=token)


def _provider(folder: Path, url: str, port: int) -> ProviderSettings:
    """Take the trust service's word for who somebody is, and their roles as they are there."""
    return ProviderSettings(
        issuer=url,
        client_id=NAME,
        client_secret_file=folder / SECRET,
        redirect_uri=f"https://localhost:{port}/sign-in/provider/return",
        roles_claim="roles",
        roles={role.value: frozenset({role}) for role in StaffRole},
        authority=folder / "pki" / "authority.crt",
        at_once=True,
        again_s=900,
    )


def _at(exchange: int, act: Callable[[], None]) -> Callable[[], None]:
    """Return what does the act before that exchange, counted from now."""
    left = iter(range(exchange - 1))

    def before() -> None:
        if next(left, None) is None:
            act()

    return before
