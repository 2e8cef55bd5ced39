"""A trust service in memory around real files, and its callers: officer, nodes, people."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from audit.portal.tables import AccountRow
from audit.signing import SigningKey, seal, sign_request, unseal
from audit.staff import StaffRole
from consent.api import create_app
from consent.service import TrustService
from consent.settings import TrustSettings

ADMIN = "an-admin-token-of-tests"
START = 1_800_000_000.0
NOTICE_TEXT = "We analyse expressed emotion in your messages, if you agree."


@dataclass(slots=True)
class FakeClock:
    """A clock that moves when told."""

    now: float = START

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


@dataclass(slots=True, kw_only=True)
class World:
    """The service and everybody who calls it."""

    folder: Path
    clock: FakeClock
    officer: SigningKey
    settings: TrustSettings
    service: TrustService
    keys: dict[str, SigningKey] = field(default_factory=dict)
    _app_of: Callable[[TrustService], FastAPI] = field(default_factory=lambda: cache(create_app))

    @property
    def app(self) -> FastAPI:
        """The service's application, made once: making one takes longer than asking it."""
        return self._app_of(self.service)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send one request to the application."""
        return asyncio.run(self.send_async(method, path, body, headers))

    async def send_async(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send one request to the application, inside a running loop."""
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://trust") as client:
            return await client.request(method, path, content=body, headers=headers)

    def signed(self, node: str, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """Return the headers by which a node signs a request."""
        return sign_request(
            self.keys[node], method=method, path=path, body=body, now=self.clock.now
        )

    def as_node(self, node: str, method: str, path: str, value: Any = None) -> httpx.Response:
        """Send one request signed by a node."""
        body = b"" if value is None else json.dumps(value).encode()
        return self.send(method, path, body, self.signed(node, method, path, body))

    def enrol(self, node: str, company: str) -> httpx.Response:
        """Enrol a node with a new key."""
        self.keys.setdefault(node, SigningKey.generate(node))
        body = {"node": node, "key": str(self.keys[node].verify_key), "company": company}
        headers = {"Authorization": f"Bearer {ADMIN}"}
        return self.send("POST", "/v1/nodes", json.dumps(body).encode(), headers)

    def hire(self, name: str, *roles: StaffRole) -> None:
        """Let somebody have an account that is in use, as if its owner had begun."""
        held = " ".join(sorted(roles))
        row = AccountRow(name=name, roles=held, active=True, made_at=self.clock.now)
        self.service.access.ledger.put(row)

    def decree(self, kind: str, key: SigningKey | None = None, **body: Any) -> httpx.Response:
        """Send an envelope sealed by the officer (or by somebody else)."""
        path = {"notice": "notices", "dpia": "dpias", "stop": "stop"}[kind]
        dated = {"issued_at": self.clock.now} | body
        return self.send("POST", f"/v1/{path}", seal(kind, dated, key or self.officer))

    def publish(self, version: int = 1, *, material: bool = False) -> httpx.Response:
        """Publish a notice in English."""
        return self.decree("notice", version=version, texts={"en": NOTICE_TEXT}, material=material)

    def approve(self, *purposes: str, dpia: str = "dpia-1") -> httpx.Response:
        """Approve a DPIA for purposes."""
        return self.decree(
            "dpia",
            dpia=dpia,
            purposes=purposes,
            mitigations=["redaction"],
            approved_by="A. Officer",
        )

    def grant(self, subject: str, node: str = "north", **changes: Any) -> httpx.Response:
        """Record one person's consent through a node."""
        return self.as_node(node, "POST", "/v1/grants", a_grant(subject, **changes))

    def feed(self, node: str = "north", after: int = 0, wait_s: float = 0) -> dict[str, Any]:
        """Return the verified body of the next standing envelope."""
        answer = self.as_node(node, "GET", f"/v1/standing?after={after}&wait_s={wait_s:g}")
        assert answer.status_code == 200, answer.text
        return unseal("standing", answer.content, self.service.key.verify_key)

    def standing(self, subject: str, node: str = "north") -> dict[str, Any]:
        """Return one person's standing out of the feed from its beginning."""
        found: dict[str, dict[str, Any]] = {s["subject"]: s for s in self.feed(node)["standings"]}
        return found[subject]

    def reopen(self) -> None:
        """Close the service and start it again on the same files."""
        self.service.close()
        self.service = TrustService(self.settings, clock=self.clock)


_PROOFS = itertools.count()


def proof(text: str = NOTICE_TEXT) -> dict[str, Any]:
    """Return what was shown on a page, and a proof of capture that was never used."""
    evidence = hashlib.sha256(f"page {next(_PROOFS)}".encode()).hexdigest()
    shown = {
        "language": "en",
        "text_digest": hashlib.sha256(text.encode()).hexdigest(),
        "channel": "web",
    }
    return {"shown": shown, "capture": {"evidence": evidence}}


def a_grant(subject: str, **changes: Any) -> dict[str, Any]:
    """Return the body of a grant that holds."""
    return (
        proof()
        | {
            "subject": subject,
            "purposes": ["service", "training"],
            "modalities": ["text"],
            "notice_version": 1,
            "act": "ticked_box",
            "role": "customer",
            "age": "adult",
            "vulnerabilities": [],
            "informed": True,
            "valid_days": 365,
            "jurisdiction": "IE",
        }
        | changes
    )


def captured(world: World, channel: str, *, evidence: str = "a" * 64) -> dict[str, Any]:
    """Return what a grant by a channel says of its act, of what was shown, and its proof."""
    signs = {"web": "ticked_box", "kiosk": "ticked_box", "ivr": "pressed_digit"}
    proof = {"evidence": evidence}
    if channel in {"ivr", "agent"}:
        proof |= {"reference": "call-1", "script": "s-1"}
    if channel == "agent":
        proof |= {"agent": "agent-7"}
    shown = {
        "language": "en",
        "text_digest": world.service.officer.notice(1).text_digests()["en"],
        "channel": channel,
    }
    return {"act": signs.get(channel, "spoken_yes"), "shown": shown, "capture": proof}


def first(range_: range, size: int) -> list[int]:
    """Sample without chance: the first few."""
    return list(range_[:size])


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Return a maker of worlds; settings may be changed by keyword."""
    worlds: list[World] = []

    def make(**changes: Any) -> World:
        officer, trust = SigningKey.generate("officer"), SigningKey.generate("trust")
        trust.save(tmp_path / "trust.signing-key")
        (tmp_path / "admin.token").write_text(ADMIN + "\n", encoding="utf-8")
        settings = TrustSettings(
            folder=tmp_path / "state",
            signing_key=tmp_path / "trust.signing-key",
            officer_key=str(officer.verify_key),
            admin_token_file=tmp_path / "admin.token",
            **changes,
        )
        clock = FakeClock()
        service = TrustService(settings, clock=clock, sample=first)
        world = World(
            folder=tmp_path, clock=clock, officer=officer, settings=settings, service=service
        )
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.service.close()


@pytest.fixture
def empty(make_world: Callable[..., World]) -> World:
    """Return a service in which nothing has happened yet."""
    return make_world()


@pytest.fixture
def world(empty: World) -> World:
    """Return a service with a notice, a DPIA and two companies, of which one has two nodes."""
    assert empty.publish().status_code == 201
    assert empty.approve("service", "training", "handover").status_code == 201
    for node, company in (("north", "acme"), ("south", "acme"), ("rival", "other")):
        assert empty.enrol(node, company).status_code == 201
    return empty
