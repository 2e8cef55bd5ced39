"""Which nodes, plans and releases are known, and which node confirmed which release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from audit.signing import VerifyKey
from coordinator.errors import NodeConflict, NodeUnknown, PlanUnknown, ReleaseUnknown
from coordinator.plan import Preview, preview_from_dict, preview_to_dict
from coordinator.tables import LoadedRow, NodeRow, PlanRow, ReleaseRow
from policies.canonical import canonical
from policies.clock import Clock
from policies.terms import plan_to_dict
from policies.vocabulary import Digest, NodeId, ReleaseId, RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A registered node: the key that signs its replies, and its id in Flower."""

    node: NodeId
    key: VerifyKey
    flower_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A release as it was published; `bundle` is the signed envelope for nodes."""

    release: ReleaseId
    digest: Digest
    run: RunId | None
    approved_by: str
    labels: tuple[str, ...]
    body: Mapping[str, Any]
    bundle: bytes
    published_at: float


class Registry:
    """Remember nodes, accepted plans, releases, and which node said that it loaded which."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def check_free(self, node: NodeId, key: VerifyKey, supernode_key: str) -> Node | None:
        """Return the node if it is registered with these keys, None if the name is free.

        Raises:
            NodeConflict: The name has other keys; a node is never re-keyed silently.
        """
        with Session(self._engine) as session:
            row = session.get(NodeRow, node)
            if row is None:
                return None
            if (row.vkey, row.supernode_key) != (str(key), supernode_key):
                raise NodeConflict(f"node {node} is registered with other keys: choose a new name")
            return _node(row)

    def add_node(self, node: Node, *, supernode_key: str) -> None:
        """Remember a node that Flower knows."""
        row = NodeRow(
            node=node.node,
            vkey=str(node.key),
            supernode_key=supernode_key,
            flower_id=str(node.flower_id),
            registered_at=self._clock(),
        )
        with Session(self._engine) as session:
            session.add(row)
            session.commit()

    def nodes(self) -> Mapping[NodeId, Node]:
        """Return all nodes by name."""
        with Session(self._engine) as session:
            rows = session.exec(select(NodeRow).order_by(col(NodeRow.node))).all()
            return {NodeId(row.node): _node(row) for row in rows}

    def node(self, name: NodeId) -> Node:
        """Return one node.

        Raises:
            NodeUnknown: It is not registered.
        """
        known = self.nodes()
        if name not in known:
            raise NodeUnknown(f"node {name} is not registered")
        return known[name]

    def add_plan(self, found: Preview) -> None:
        """Remember an accepted plan; the same plan again changes nothing."""
        row = PlanRow(
            digest=found.digest,
            name=found.plan.name,
            body=canonical(plan_to_dict(found.plan)).decode(),
            preview=json.dumps(preview_to_dict(found)),
            accepted_at=self._clock(),
        )
        with Session(self._engine) as session:
            if session.get(PlanRow, row.digest) is None:
                session.add(row)
                session.commit()

    def plan(self, plan_digest: Digest) -> Preview:
        """Return an accepted plan with its preview.

        Raises:
            PlanUnknown: None with that digest was accepted.
        """
        with Session(self._engine) as session:
            row = session.get(PlanRow, plan_digest)
            if row is None:
                raise PlanUnknown(f"no plan with digest {plan_digest[:16]} was accepted")
            return preview_from_dict(json.loads(row.preview))

    def knows_plan(self, plan_digest: Digest) -> bool:
        """Return whether a plan with that digest was accepted."""
        with Session(self._engine) as session:
            return session.get(PlanRow, plan_digest) is not None

    def add_release(self, published: Published, *, number: int) -> None:
        """Remember a release; its name and number are taken once."""
        row = ReleaseRow(
            release=published.release,
            number=number,
            digest=published.digest,
            run=published.run,
            approved_by=published.approved_by,
            body=json.dumps(dict(published.body)),
            bundle=published.bundle,
            published_at=published.published_at,
        )
        with Session(self._engine) as session:
            session.add(row)
            session.commit()

    def releases(self) -> tuple[Published, ...]:
        """Return all releases, oldest first."""
        with Session(self._engine) as session:
            rows = session.exec(select(ReleaseRow).order_by(col(ReleaseRow.number))).all()
            return tuple(_published(row) for row in rows)

    def release(self, name: ReleaseId) -> Published:
        """Return one release.

        Raises:
            ReleaseUnknown: There is none of that name.
        """
        with Session(self._engine) as session:
            row = session.get(ReleaseRow, name)
            if row is None:
                raise ReleaseUnknown(f"there is no release {name}")
            return _published(row)

    def loaded(self, node: NodeId, release: ReleaseId) -> None:
        """Remember a node's signed word that it loaded a release."""
        with Session(self._engine) as session:
            session.merge(LoadedRow(node=node, release=release, loaded_at=self._clock()))
            session.commit()

    def holders(self, release: ReleaseId) -> frozenset[NodeId]:
        """Return the nodes that said they loaded the release."""
        with Session(self._engine) as session:
            rows = session.exec(select(LoadedRow.node).where(LoadedRow.release == release)).all()
            return frozenset(NodeId(node) for node in rows)


def _node(row: NodeRow) -> Node:
    return Node(node=NodeId(row.node), key=VerifyKey.parse(row.vkey), flower_id=int(row.flower_id))


def _published(row: ReleaseRow) -> Published:
    body = json.loads(row.body)
    return Published(
        release=ReleaseId(row.release),
        digest=Digest(row.digest),
        run=None if row.run is None else RunId(row.run),
        approved_by=row.approved_by,
        labels=tuple(name for name, _ in body["labels"]),
        body=body,
        bundle=row.bundle,
        published_at=row.published_at,
    )
