"""How a bundle comes into force, stage by stage, and what that makes of each node's rules.

Every act is an officer's; folded in their order they say, for each node, which jurisdictions'
profiles and which bundles it decides by (`Assignment`). A version of a bundle goes through

    published → shadow (decided beside, everywhere) → some nodes → all nodes

and no stage is skipped; within a stage it may be widened. A rollback goes at once to a version
that was in force everywhere before, or to 0: the shipped rules without that bundle. Because a
bundle only forbids, no stage and no rollback reaches below the shipped prohibitions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from policies.errors import PolicyInvalid
from policies.vocabulary import Digest, NodeId

EVERYONE = 100
NO_VERSION = 0


class Stage(StrEnum):
    """Where a version of a bundle stands."""

    PUBLISHED = "published"
    SHADOW = "shadow"
    SOME = "some"
    ALL = "all"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A version that was linted, analysed and tested; in force nowhere."""

    name: str
    version: int
    digest: Digest
    issued_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A version put to a stage; `nodes` and `percent` (of nodes, by digest) are for SOME."""

    name: str
    version: int
    stage: Stage
    by: str
    issued_at: float
    nodes: frozenset[NodeId] = frozenset()
    percent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Jurisdictions for a company's nodes, or for one node besides; replaces the last such act."""

    whom: str
    profiles: tuple[str, ...]
    by: str
    issued_at: float


RulesAct = Published | Staged | Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRef:
    """One version of a bundle, by the digest of its sealed envelope."""

    name: str
    version: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one node decides by, and what it decides beside it; None where nothing is proposed."""

    profiles: tuple[str, ...] = ()
    enforced: tuple[BundleRef, ...] = ()
    proposed: tuple[BundleRef, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far one bundle got: in force everywhere, and the version on its way."""

    versions: Mapping[int, Digest]
    settled: int = NO_VERSION
    been: frozenset[int] = frozenset({NO_VERSION})
    candidate: int = NO_VERSION
    stage: Stage = Stage.PUBLISHED
    nodes: frozenset[NodeId] = frozenset()
    percent: int = 0

    def enforced_at(self, node: NodeId) -> int:
        """Return the version that decides at a node, 0 for none."""
        return self.candidate if self._chosen(node) else self.settled

    def shadowed_at(self, node: NodeId) -> int:
        """Return the version that is decided beside it, 0 for none."""
        return NO_VERSION if self._chosen(node) else self.candidate

    def _chosen(self, node: NodeId) -> bool:
        if self.stage is not Stage.SOME:
            return False
        return node in self.nodes or bucket(self.candidate, node) < self.percent


@dataclass(slots=True)
class RulesState:
    """All acts folded: one course a bundle, and whose jurisdictions are which."""

    courses: dict[str, Course] = field(default_factory=dict)
    placed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def take(self, act: RulesAct) -> None:
        """Let an act count.

        Raises:
            PolicyInvalid: It is out of order; the message says what comes first.
        """
        match act:
            case Published():
                self.courses[act.name] = _published(self.courses.get(act.name), act)
            case Staged():
                self.courses[act.name] = _staged(self.courses.get(act.name), act)
            case Placed():
                self.placed[act.whom] = act.profiles

    def assignment(self, node: NodeId, company: str) -> Assignment:
        """Return what a node of a company decides by."""
        enforced = {name: course.enforced_at(node) for name, course in self.courses.items()}
        shadowed = {n: v for n, c in self.courses.items() if (v := c.shadowed_at(node))}
        profiles = {*self.placed.get(company, ()), *self.placed.get(node_key(node), ())}
        return Assignment(
            profiles=tuple(sorted(profiles)),
            enforced=self._refs(enforced),
            proposed=self._refs(enforced | shadowed) if shadowed else None,
        )

    def _refs(self, versions: Mapping[str, int]) -> tuple[BundleRef, ...]:
        return tuple(
            BundleRef(name=name, version=version, digest=self.courses[name].versions[version])
            for name, version in sorted(versions.items())
            if version != NO_VERSION
        )


def fold(acts: Iterable[RulesAct]) -> RulesState:
    """Return what acts in their recorded order add up to.

    Raises:
        PolicyInvalid: One is out of order.
    """
    state = RulesState()
    for act in acts:
        state.take(act)
    return state


def node_key(node: NodeId) -> str:
    """Return under which name a node's own jurisdictions are placed, apart from companies."""
    return f"node:{node}"


def bucket(version: int, node: NodeId) -> int:
    """Return a node's place from 0 to 99 in the roll-out of a version; a larger share adds."""
    return int(hashlib.sha256(f"{version}/{node}".encode()).hexdigest()[:12], 16) % EVERYONE


def _published(course: Course | None, act: Published) -> Course:
    newest = max(course.versions, default=0) if course else 0
    if act.version <= newest:
        raise PolicyInvalid(
            f"bundle {act.name}: version {newest} is published, the next needs a higher number"
        )
    versions = {**(course.versions if course else {}), act.version: act.digest}
    return replace(course, versions=versions) if course else Course(versions=versions)


def _staged(course: Course | None, act: Staged) -> Course:
    named = f"bundle {act.name} version {act.version}"
    if act.stage is Stage.ROLLBACK:
        return _rolled_back(course, act)
    if course is None or act.version not in course.versions:
        raise PolicyInvalid(f"{named} is not published: publish it first")
    if act.stage is Stage.SHADOW:
        if act.version <= course.settled:
            raise PolicyInvalid(f"{named} is not newer than {course.settled}: roll back instead")
        return replace(
            course,
            candidate=act.version,
            stage=Stage.SHADOW,
            nodes=frozenset[NodeId](),
            percent=0,
        )
    if course.candidate != act.version:
        raise PolicyInvalid(f"{named} was not in shadow mode: put it there first")
    if act.stage is Stage.SOME:
        return _widened(course, act)
    if course.stage is not Stage.SOME:
        raise PolicyInvalid(f"{named} is in force at no node: roll it out to some first")
    return _settled(course, act.version)


def _widened(course: Course, act: Staged) -> Course:
    nodes, percent = course.nodes | act.nodes, max(course.percent, act.percent)
    if not 0 <= act.percent < EVERYONE or not (nodes or percent):
        raise PolicyInvalid(
            f"bundle {act.name}: name nodes or a percentage from 1 to {EVERYONE - 1}"
        )
    return replace(course, stage=Stage.SOME, nodes=nodes, percent=percent)


def _rolled_back(course: Course | None, act: Staged) -> Course:
    if course is None or act.version not in course.been:
        raise PolicyInvalid(
            f"bundle {act.name} was never in force everywhere at version {act.version}: "
            "roll back to one that was, or to 0 for the shipped rules alone"
        )
    if act.version == course.settled and not course.candidate:
        raise PolicyInvalid(f"bundle {act.name} is at version {act.version} already")
    return _settled(course, act.version)


def _settled(course: Course, version: int) -> Course:
    return Course(versions=course.versions, settled=version, been=course.been | {version})


def assignment_to_dict(assignment: Assignment) -> dict[str, Any]:
    """Return the assignment as JSON values."""
    proposed = assignment.proposed
    return {
        "profiles": list(assignment.profiles),
        "enforced": [_ref_to_dict(ref) for ref in assignment.enforced],
        "proposed": None if proposed is None else [_ref_to_dict(ref) for ref in proposed],
    }


def assignment_from_dict(value: Mapping[str, Any]) -> Assignment:
    """Rebuild an assignment.

    Raises:
        KeyError, TypeError, ValueError: It lacks a field or has a wrong one.
    """
    proposed = value["proposed"]
    return Assignment(
        profiles=tuple(str(name) for name in value["profiles"]),
        enforced=tuple(_ref(row) for row in value["enforced"]),
        proposed=None if proposed is None else tuple(_ref(row) for row in proposed),
    )


def _ref_to_dict(ref: BundleRef) -> dict[str, Any]:
    return {"name": ref.name, "version": ref.version, "digest": ref.digest}


def _ref(row: Mapping[str, Any]) -> BundleRef:
    return BundleRef(
        name=str(row["name"]), version=int(row["version"]), digest=Digest(str(row["digest"]))
    )
