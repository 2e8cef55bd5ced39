"""An organisation's rules in force: sealed by the officer, checked, and told to each node.

Bodies of the sealed envelopes (`issued_at` is the Unix time of sealing):

    bundle        {bundle, by, issued_at}: a version, by itself in force nowhere
    rollout       {name, version, stage, nodes, percent, by, issued_at}
    jurisdiction  {company, node, profiles, by, issued_at}: one of company and node is null

Each is 1. verified, 2. read, and a bundle linted, analysed and tested, 3. checked to be new and
in order of stages, 4. logged, 5. recorded, 6. in force, and the nodes are rung.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from audit.errors import EnvelopeInvalid, SignatureInvalid
from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from audit.signing import VerifyKey, unseal
from consent.bell import Bell
from consent.errors import Conflict, NotAuthenticated, NotFound, RequestInvalid
from consent.ledger import Ledger
from consent.notice import as_word
from consent.officer import MAX_SKEW_S
from consent.tables import LedgerRow
from policies.bundle import Bundle, admit, bundle_from_dict
from policies.canonical import digest_bytes
from policies.clock import Clock
from policies.current import Ruled
from policies.decision import Decision, UseRequest
from policies.errors import PolicyInvalid
from policies.profile import find_profile, shipped_profiles
from policies.rollout import (
    Assignment,
    BundleRef,
    Placed,
    Published,
    RulesAct,
    Stage,
    Staged,
    fold,
    node_key,
)
from policies.rulebook import RuleBook
from policies.standing import Governance, Standing
from policies.vocabulary import DecisionId, Digest, NodeId, SubjectId

KINDS = ("bundle", "rollout", "jurisdiction")
_BY = re.compile(r"[^\W_][\w .'-]{0,99}")


class Bundles:
    """Every act on rules in its order, and what each node decides by now or then."""

    def __init__(
        self, *, ledger: Ledger, log: EvidenceLog, clock: Clock, bell: Bell, key: VerifyKey
    ) -> None:
        self._ledger, self._log, self._clock, self._bell = ledger, log, clock, bell
        self._key = key
        self._lock = threading.Lock()
        self._acts: list[tuple[float, RulesAct]] = []
        self._bundles: dict[Digest, Bundle] = {}
        self._envelopes: dict[Digest, bytes] = {}
        self._reports: dict[NodeId, dict[str, Any]] = {}
        self._ruled = lru_cache(maxsize=64)(self._compose)
        for at, text in ledger.envelopes():
            value = json.loads(text)
            if value["kind"] in KINDS:
                self._remember(at, value["kind"], value["body"], text.encode())

    def take(self, kind: str, envelope: bytes) -> tuple[RulesAct, int]:
        """Put a sealed act in force; return it and its log entry.

        Raises:
            NotAuthenticated: Not sealed by the officer's key.
            RequestInvalid: Not such an envelope, too large, or its name or node is unknown.
            PolicyInvalid: The bundle is not admitted.
            Conflict: A stage is skipped, a version is not newer, or it was not sealed just now.
            EvidenceUnavailable, LedgerUnavailable: It is not in force.
        """
        try:
            body = unseal(kind, envelope, self._key)  # 1
        except SignatureInvalid as error:
            raise NotAuthenticated(f"the {kind} is not sealed by the officer's key") from error
        except EnvelopeInvalid as error:
            raise RequestInvalid(str(error)) from error
        act = read_act(kind, body, digest_bytes(envelope))  # 2
        with self._lock:
            self._check(act, body)  # 3
            at = self._clock()
            index = self._log.append(_event(act, digest_bytes(envelope), at))  # 4
            row = LedgerRow(
                record_id=secrets.token_hex(16),
                kind=kind,
                at=at,
                body=envelope.decode(),
                log_index=index,
            )
            self._ledger.add([row])  # 5
            self._remember(at, kind, body, envelope)  # 6
        self._bell.ring(None)
        return act, index

    def assignment(self, node: NodeId) -> Assignment:
        """Return what a node decides by; nothing of its own where it is not enrolled."""
        return self._assigned(node, [act for _, act in list(self._acts)])

    def rules_during(self, node: NodeId, start: float, end: float) -> list[Ruled]:
        """Return each set of rules that a node may have had from one second to another."""
        acts = list(self._acts)
        before = [act for at, act in acts if at < start]
        during = [act for at, act in acts if start <= at < end]
        found = [self._assigned(node, before + during[:n]) for n in range(len(during) + 1)]
        return [self._ruled(a.profiles, a.enforced) for a in dict.fromkeys(found)]

    def rules_of(self, node: NodeId) -> Ruled:
        """Return the rules that a node decides by."""
        found = self.assignment(node)
        return self._ruled(found.profiles, found.enforced)

    def envelope(self, name: str, version: int) -> bytes:
        """Return the officer's sealed envelope of a version, as it came.

        Raises:
            NotFound: It is not published.
        """
        for _, act in self._acts:
            if isinstance(act, Published) and (act.name, act.version) == (name, version):
                return self._envelopes[act.digest]
        raise NotFound(f"bundle {name[:40]} version {version} is not published")

    def version(self, name: str, version: int) -> Bundle:
        """Return a published version.

        Raises:
            NotFound: It is not published.
        """
        for bundle in self._bundles.values():
            if (bundle.name, bundle.version) == (name, version):
                return bundle
        raise NotFound(f"bundle {name[:40]} version {version} is not published")

    def course(self, name: str) -> list[tuple[float, Published | Staged]]:
        """Return what was done with a bundle and when, in order."""
        return [
            (at, act)
            for at, act in list(self._acts)
            if isinstance(act, Published | Staged) and act.name == name
        ]

    def report(self, node: NodeId, counts: dict[str, Any]) -> None:
        """Keep a node's newest counts of its shadow; they replace its last."""
        self._reports[node] = counts

    def status(self) -> dict[str, Any]:
        """Return each bundle's course, each node's rules, and what shadows would change."""
        state = fold(act for _, act in list(self._acts))
        nodes = {row.node: state.assignment(NodeId(row.node), row.company) for row in self._nodes()}
        return {
            "bundles": {
                name: {
                    "versions": sorted(course.versions),
                    "in_force": course.settled,
                    "candidate": course.candidate or None,
                    "stage": course.stage.value if course.candidate else None,
                    "nodes": sorted(course.nodes),
                    "percent": course.percent,
                }
                for name, course in sorted(state.courses.items())
            },
            "nodes": {
                node: {
                    "profiles": list(found.profiles),
                    "enforced": {ref.name: ref.version for ref in found.enforced},
                    "policy_digest": self._ruled(found.profiles, found.enforced).policy_digest,
                    "shadow": self._reports.get(NodeId(node)) if found.proposed else None,
                }
                for node, found in sorted(nodes.items())
            },
        }

    def _nodes(self) -> list[Any]:
        return self._ledger.nodes()

    def _assigned(self, node: NodeId, acts: list[RulesAct]) -> Assignment:
        if not acts:
            return Assignment()
        company = next((row.company for row in self._nodes() if row.node == node), "")
        return fold(acts).assignment(node, company)

    def _compose(self, profiles: tuple[str, ...], refs: tuple[BundleRef, ...]) -> Ruled:
        return Ruled([find_profile(p) for p in profiles], [self._bundles[r.digest] for r in refs])

    def _check(self, act: RulesAct, body: Mapping[str, Any]) -> None:
        if abs(self._clock() - act.issued_at) > MAX_SKEW_S:
            raise Conflict(f"the envelope was not sealed within {MAX_SKEW_S:.0f} s: seal it again")
        # One clock of sealing for all acts on rules: none is ever sent twice.
        if act.issued_at <= max((old.issued_at for _, old in self._acts), default=0.0):
            raise Conflict("a newer act on the rules is in force: seal it again")
        known = {row.node for row in self._nodes()}
        if isinstance(act, Staged) and not act.nodes <= known:
            raise RequestInvalid("the roll-out names a node that is not enrolled")
        if isinstance(act, Published):
            self._check_apart(bundle_from_dict(body["bundle"]))
        try:
            fold([*(old for _, old in self._acts), act])
        except PolicyInvalid as error:
            raise Conflict(str(error)) from error

    def _check_apart(self, bundle: Bundle) -> None:
        """Two bundles never share a rule's id, or a node could not hold both."""
        theirs = {r for b in self._bundles.values() if b.name != bundle.name for r in b.words}
        if shared := theirs & set(bundle.words):
            raise Conflict(f"{min(shared)} is a rule of another bundle: give it another id")

    def _remember(self, at: float, kind: str, body: Mapping[str, Any], envelope: bytes) -> None:
        act = _ACTS[kind](body, digest_bytes(envelope))
        if isinstance(act, Published):
            self._bundles[act.digest] = bundle_from_dict(body["bundle"])
            self._envelopes[act.digest] = envelope
        self._acts.append((at, act))


class RulesByNode:
    """Decides each request by the rules of the node that asks; for the service's own gate."""

    def __init__(self, bundles: Bundles, shipped: Digest) -> None:
        self._bundles, self.policy_digest = bundles, shipped

    def decide(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        *,
        now: float,
        decision_id: DecisionId | None = None,
    ) -> Decision:
        """Decide one use by the asking node's rules.

        Raises:
            PolicyUnavailable: They could not answer.
        """
        rules = self._bundles.rules_of(request.node)
        return rules.decide(request, standing, governance, now=now, decision_id=decision_id)

    def decide_batch(
        self, request: UseRequest, standings: Any, governance: Governance | None, *, now: float
    ) -> tuple[frozenset[SubjectId], tuple[Decision, ...]]:
        """Decide for many by the asking node's rules.

        Raises:
            PolicyUnavailable: They could not answer.
        """
        rules = self._bundles.rules_of(request.node)
        return rules.decide_batch(request, standings, governance, now=now)


def read_act(kind: str, body: Mapping[str, Any], digest: Digest) -> RulesAct:
    """Read an unsealed body; a bundle is linted, analysed and tested.

    Raises:
        RequestInvalid: A field is missing or wrong.
        PolicyInvalid: The bundle is not admitted, or no such profile is shipped.
    """
    try:
        act: RulesAct = _ACTS[kind](body, digest)
        bundle = bundle_from_dict(body["bundle"]) if isinstance(act, Published) else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestInvalid(f"the {kind} lacks a field or has a wrong one") from error
    if not _BY.fullmatch(str(body.get("by", ""))):
        raise RequestInvalid("by must be a name of at most 100 letters and digits")
    if bundle is not None:
        if bundle.name in shipped_profiles():
            raise RequestInvalid(f"{bundle.name} is a shipped profile's name: take another")
        admit(RuleBook.shipped(), bundle)
    for name in act.profiles if isinstance(act, Placed) else ():
        find_profile(name)
    return act


def _published(body: Mapping[str, Any], digest: Digest) -> Published:
    bundle = body["bundle"]
    return Published(
        name=str(bundle["name"]),
        version=int(bundle["version"]),
        digest=digest,
        issued_at=float(body["issued_at"]),
    )


def _rollout(body: Mapping[str, Any], _: Digest) -> Staged:
    stage = Stage(body["stage"])
    if stage is Stage.PUBLISHED:
        raise ValueError("publishing is a bundle's own envelope")
    return Staged(
        name=str(body["name"]),
        version=int(body["version"]),
        stage=stage,
        by=str(body["by"]),
        issued_at=float(body["issued_at"]),
        nodes=frozenset(NodeId(str(node)) for node in body["nodes"]),
        percent=int(body["percent"]),
    )


def _placed(body: Mapping[str, Any], _: Digest) -> Placed:
    company, node = body["company"], body["node"]
    if (company is None) == (node is None):
        raise ValueError("one of company and node")
    return Placed(
        whom=str(company) if node is None else node_key(NodeId(str(node))),
        profiles=tuple(sorted({str(name) for name in body["profiles"]})),
        by=str(body["by"]),
        issued_at=float(body["issued_at"]),
    )


_ACTS: Mapping[str, Any] = {"bundle": _published, "rollout": _rollout, "jurisdiction": _placed}


def _event(act: RulesAct, digest: Digest, at: float) -> Event:
    fields: dict[str, Value] = {"digest": digest}
    match act:
        case Published():
            kind = EventKind.BUNDLE_PUBLISHED
            fields |= {"bundle": act.name, "version": act.version}
        case Staged():
            kind = EventKind.BUNDLE_STAGED
            fields |= {"bundle": as_word(act.name), "version": act.version, "by": as_word(act.by)}
            fields |= {"stage": act.stage.value, "percent": act.percent}
            fields |= {"nodes": [as_word(node) for node in sorted(act.nodes)]}
        case Placed():
            kind = EventKind.JURISDICTION_PLACED
            fields |= {"whom": act.whom.replace(" ", "-"), "by": as_word(act.by)}
            fields |= {"profiles": list(act.profiles)}
    return Event(kind=kind, at=at, fields=fields)
