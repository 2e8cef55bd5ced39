"""From a decision to everything it rests on, each by digest, with the proof or why there is none.

One pass over a log's leaves finds the decision, what was in force when it was made, and what
cites it since. A link says: what it is, the digest that names it, the entry that shows it with
its receipt, who approved it; or in plain words why that is not kept here. Nobody else's entry is
opened, and nothing that the log keeps sealed.

Pure: leaves, receipts and another log's entries come as arguments. Not here: whether the log
holds (`audit.verify`), who may ask (`audit.staff`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from audit.errors import EntryMissing
from audit.events import Event, EventKind
from audit.leaf import decode_leaf
from audit.trace_context import TRACE_ID
from audit.tree import leaf_hash

DECISIONS = (EventKind.DECISION, EventKind.BATCH_DECISION)

IN_FORCE = (
    EventKind.SERVICE_STARTED,
    EventKind.RULES_ADOPTED,
    EventKind.STANDING_APPLIED,
    EventKind.RELEASE_LOADED,
    EventKind.LOCAL_HEAD_FITTED,
    EventKind.NOTICE_PUBLISHED,
    EventKind.DPIA_APPROVED,
    EventKind.STOP_SET,
)
OF_A_RUN = (
    EventKind.RUN_STARTED,
    EventKind.PLAN_ACCEPTED,
    EventKind.TERMS_ANSWERED,
    EventKind.TERMS_PUBLISHED,
    EventKind.ROUND_CLOSED,
)
_READ = tuple(f'"kind":"{kind}"'.encode() for kind in (*IN_FORCE, *OF_A_RUN))


class LinkKind(StrEnum):
    """What a link of the chain is."""

    DECISION = "decision"  # the answer itself
    STANDING = "standing"  # what the person had chosen, as the trust service vouched for it
    POLICY = "policy"  # the bundle of rules that answered
    GOVERNANCE = "governance"  # what the organisation had approved
    NOTICE = "notice"  # the text under which the person consented
    APPROVAL = "approval"  # an impact assessment, or the stop switch, and who signed it
    RELEASE = "release"  # the model in force, and who approved it
    LOCAL_HEAD = "local head"  # the node's own head in force, by a digest that hides it
    TERMS = "terms"  # the signed terms of a round, and its plan
    CONSEQUENCE = "consequence"  # what was done under the decision


class Foreign(NamedTuple):
    """An entry of another log, with the receipt that shows it there."""

    origin: str
    leaf: bytes
    receipt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One step back from a decision.

    Either `index` and `receipt` show it in this log (`origin` names another), or `not_kept` says
    why nothing does. `leaf` is the entry to the byte, for `undertone-trust verify`'s arithmetic.
    `trace` is the id of the OpenTelemetry trace in which the entry was made.
    """

    what: LinkKind
    name: str
    digest: str | None = None
    by: str | None = None
    origin: str | None = None
    index: int | None = None
    leaf: bytes | None = field(default=None, repr=False)
    receipt: str | None = field(default=None, repr=False)
    not_kept: str | None = None
    trace: str | None = None


class Proofs(NamedTuple):
    """What the pure part asks of its caller: a receipt, and another log's word on a release."""

    origin: str
    receipt: Callable[[int], str]
    published: Callable[[str], Foreign | None] = lambda _: None
    elsewhere: str = ""
    """Where these leaves are a part of a log: why what is not among them is not."""


@dataclass(frozen=True, slots=True)
class _Found:
    index: int
    leaf: bytes
    event: Event


@dataclass(slots=True)
class _Pass:
    """What one pass over the leaves keeps."""

    decision: _Found | None = None
    in_force: dict[tuple[EventKind, str], _Found] = field(default_factory=dict)
    of_runs: list[_Found] = field(default_factory=list)
    citing: list[_Found] = field(default_factory=list)


def trace(
    leaves: Iterable[tuple[int, bytes]], decision_id: str, proofs: Proofs
) -> tuple[Link, ...]:
    """Return the chain of a decision, the decision first.

    Args:
        leaves: `(index, leaf)` of the whole log, in order.
        decision_id: Which decision.
        proofs: Receipts of this log, and the entries of others that are kept here.

    Raises:
        EntryMissing: The log has no such decision.
        EventInvalid: A leaf is none.
    """
    seen = _read(leaves, decision_id)
    if seen.decision is None:
        raise EntryMissing("the log has no such decision: check the id, and ask the log it is in")
    return tuple(_chain(seen, seen.decision, proofs))


def link_to_dict(link: Link) -> dict[str, Any]:
    """Return the link as JSON values, without what it does not have."""
    value = {
        "what": link.what.value,
        "name": link.name,
        "digest": link.digest,
        "by": link.by,
        "log": link.origin,
        "index": link.index,
        "leaf": None if link.leaf is None else base64.b64encode(link.leaf).decode(),
        "receipt": link.receipt,
        "not_kept": link.not_kept,
        "trace": link.trace,
    }
    return {name: item for name, item in value.items() if item is not None}


def _read(leaves: Iterable[tuple[int, bytes]], decision_id: str) -> _Pass:
    """Read what is in force until the decision, and what cites it or its run anywhere."""
    seen, wanted = _Pass(), f'"{decision_id}"'.encode()
    for index, leaf in leaves:
        cited = wanted in leaf
        if not cited and not any(kind in leaf for kind in _READ):
            continue
        found = _Found(index, leaf, decode_leaf(leaf)[0])
        if found.event.fields.get("decision_id") == decision_id:
            if found.event.kind in DECISIONS and seen.decision is None:
                seen.decision = found
            else:
                seen.citing.append(found)
        elif found.event.kind in IN_FORCE:
            if seen.decision is None:
                _put_in_force(seen.in_force, found)
        else:
            seen.of_runs.append(found)
    return seen


def _put_in_force(in_force: dict[tuple[EventKind, str], _Found], found: _Found) -> None:
    fields = found.event.fields
    of = {EventKind.NOTICE_PUBLISHED: "version", EventKind.DPIA_APPROVED: "dpia"}
    name = of.get(found.event.kind)
    in_force[found.event.kind, "" if name is None else str(fields[name])] = found


def _chain(seen: _Pass, decision: _Found, proofs: Proofs) -> Iterable[Link]:
    fields = decision.event.fields
    allowed = "allowed" if fields.get("allowed", True) else "refused"
    asked = " ".join(str(fields[n]) for n in ("action", "purpose"))
    yield _shown(LinkKind.DECISION, f"{allowed}: {asked}", decision, proofs)
    yield _standing(seen, fields, proofs)
    yield _policy(seen, fields, proofs)
    yield Link(
        what=LinkKind.GOVERNANCE,
        name="what the organisation had approved",
        digest=_text(fields.get("governance_digest")),
        not_kept="as a whole it lies sealed beside the decision; its approvals follow by digest",
    )
    yield from _approvals(seen, fields, proofs)
    if decision.event.kind is EventKind.BATCH_DECISION:
        yield from _terms(seen, fields, proofs)
    elif "release_digest" in fields:
        yield _release(seen, fields, proofs)
        yield from _local_head(seen, fields, proofs)
    for found in seen.citing:
        name = found.event.kind.value
        yield _shown(LinkKind.CONSEQUENCE, name, found, proofs, by=_by(found))
        yield from _of_its_run(seen, found, proofs)


def _of_its_run(seen: _Pass, released: _Found, proofs: Proofs) -> Iterable[Link]:
    """Yield plan, start and rounds of the run that made a release, as its coordinator logged."""
    run, plan = (released.event.fields.get(name) for name in ("run", "plan_digest"))
    if released.event.kind is not EventKind.RELEASE_PUBLISHED or run is None:
        return
    for found in seen.of_runs:
        fields = found.event.fields
        accepted = found.event.kind is EventKind.PLAN_ACCEPTED
        if fields.get("run") == run or (accepted and fields["plan_digest"] == plan):
            stated = _text(fields.get("terms_digest") or fields.get("plan_digest"))
            name = f"{found.event.kind} of {run}"
            yield _shown(LinkKind.TERMS, name, found, proofs, digest=stated, by=_by(found))


def _standing(seen: _Pass, fields: Mapping[str, Any], proofs: Proofs) -> Link:
    """Return the standing: by its digest, and the envelope's entry that last changed any."""
    stated = _text(fields.get("standing_digest"))
    applied = seen.in_force.get((EventKind.STANDING_APPLIED, ""))
    if "batch_root" in fields:
        name = "the standings of everybody in the batch, behind its root"
        stated = str(fields["batch_root"])
    else:
        name = "the person's standing, sealed beside the decision with their own key"
    if applied is None:
        why = "this log hears of standing from nobody: consents are its own service's"
        return Link(what=LinkKind.STANDING, name=name, digest=stated, not_kept=why)
    return _shown(LinkKind.STANDING, name, applied, proofs, digest=stated)


def _policy(seen: _Pass, fields: Mapping[str, Any], proofs: Proofs) -> Link:
    stated = _text(fields["policy_digest"])
    kinds = (EventKind.SERVICE_STARTED, EventKind.RULES_ADOPTED)
    newest = [seen.in_force[kind, ""] for kind in kinds if (kind, "") in seen.in_force]
    fits = [found for found in newest if found.event.fields["policy_digest"] == stated]
    if fits:
        found = max(fits, key=lambda one: one.index)
        name = f"rules of version {found.event.fields.get('version')}"
        if found.event.kind is EventKind.RULES_ADOPTED:
            bundles = ", ".join(_words(found.event.fields["bundles"])) or "those that ship"
            name = f"rules adopted while the service ran: {bundles}"
        return _shown(LinkKind.POLICY, name, found, proofs, digest=stated)
    why = "no start of the service, and no adoption, with these rules stands before the decision"
    if proofs.elsewhere:
        why = f"{why} in what was handed over; an adoption stays in the branch's own log: ask there"
    return Link(what=LinkKind.POLICY, name="rules", digest=stated, not_kept=why)


def _approvals(seen: _Pass, fields: Mapping[str, Any], proofs: Proofs) -> Iterable[Link]:
    """Yield notice, assessments and stop switch, from this log or as the trust service named them.

    Of notices the one consented under; where the decision names none, all that were in force.
    """
    version = fields.get("notice_version")
    named = list(_own_approvals(seen, fields, proofs)) or list(
        _told_approvals(seen, fields, proofs)
    )
    about = f"notice {version}"
    yield from (
        link
        for link in named
        if link.what is not LinkKind.NOTICE or version is None or link.name == about
    )
    if version is not None and about not in {link.name for link in named}:
        why = "the trust service no longer names it: a material notice took its place"
        yield Link(what=LinkKind.NOTICE, name=about, not_kept=why)
    if not named:
        why = "nothing that was approved had been heard of"
        yield Link(what=LinkKind.APPROVAL, name="approvals", not_kept=why)


def _own_approvals(seen: _Pass, fields: Mapping[str, Any], proofs: Proofs) -> Iterable[Link]:
    for (kind, name), found in seen.in_force.items():
        said = found.event.fields
        if kind is EventKind.NOTICE_PUBLISHED:
            yield _shown(LinkKind.NOTICE, f"notice {name}", found, proofs, by="officer")
        elif kind is EventKind.DPIA_APPROVED and fields["purpose"] in _words(said["purposes"]):
            yield _shown(LinkKind.APPROVAL, f"dpia {name}", found, proofs, by=_by(found))
        elif kind is EventKind.STOP_SET:
            state = "set" if said["stopped"] else "clear"
            yield _shown(LinkKind.APPROVAL, f"stop {state}", found, proofs, by=_by(found))


def _told_approvals(seen: _Pass, fields: Mapping[str, Any], proofs: Proofs) -> Iterable[Link]:
    """Yield what the trust service's envelope named: `KIND/ID/BY/INDEX/DIGEST`."""
    applied = seen.in_force.get((EventKind.STANDING_APPLIED, ""))
    words, shown = _words(fields.get("approvals")), None
    if applied is not None and not words:
        words, shown = _words(applied.event.fields.get("approvals")), applied
    for word in words:
        kind, name, by, index, digest = (word.split("/") + [""] * 5)[:5]
        what = LinkKind.NOTICE if kind == "notice" else LinkKind.APPROVAL
        about = f"{kind} {name}"
        if shown is not None:
            yield _shown(what, about, shown, proofs, digest=digest, by=by)
        else:
            why = f"it is entry {index} of the trust service's log: ask there for its receipt"
            yield Link(what=what, name=about, digest=digest, by=by, not_kept=why)


def _release(seen: _Pass, fields: Mapping[str, Any], proofs: Proofs) -> Link:
    stated = _text(fields["release_digest"])
    if stated is None:
        why = "no release was in force: nothing was read by a model"
        return Link(what=LinkKind.RELEASE, name="none", not_kept=why)
    foreign = proofs.published(stated)
    loaded = seen.in_force.get((EventKind.RELEASE_LOADED, ""))
    if foreign is not None:
        said = decode_leaf(foreign.leaf)[0].fields
        return Link(
            what=LinkKind.RELEASE,
            name=str(said["release"]),
            digest=stated,
            by=_text(said.get("approved_by")),
            origin=foreign.origin,
            index=int(foreign.receipt.split("\n")[1].removeprefix("index ")),
            leaf=foreign.leaf,
            receipt=foreign.receipt,
        )
    if loaded is None or loaded.event.fields["digest"] != stated:
        why = "no entry before the decision says that it was loaded"
        return Link(what=LinkKind.RELEASE, name="release", digest=stated, not_kept=why)
    return _shown(
        LinkKind.RELEASE, str(loaded.event.fields["release"]), loaded, proofs, digest=stated
    )


def _local_head(seen: _Pass, fields: Mapping[str, Any], proofs: Proofs) -> Iterable[Link]:
    """Yield the node's own head where one was in force when a turn was read."""
    stated = fields.get("local_head_digest")
    if stated is None or fields["action"] != "infer":
        return
    name = "in force beside the release, for what the branch is shown; in no decision"
    fitted = seen.in_force.get((EventKind.LOCAL_HEAD_FITTED, ""))
    if fitted is None or fitted.event.fields["digest"] != stated:
        why = "no entry before the decision says that it was fitted"
        yield Link(what=LinkKind.LOCAL_HEAD, name=name, digest=str(stated), not_kept=why)
        return
    yield _shown(LinkKind.LOCAL_HEAD, name, fitted, proofs, digest=str(stated))


def _terms(seen: _Pass, fields: Mapping[str, Any], proofs: Proofs) -> Iterable[Link]:
    """Yield the terms of the round that a batch was for, and this log's entries about them."""
    context = dict(word.partition("=")[::2] for word in _words(fields["context"]))
    stated = context.get("terms")
    if "run" not in context:
        return
    name = f"round {context.get('round')} of {context['run']}"
    if stated is None:
        why = "the decision was made by a version that did not record the digest of its terms"
        yield Link(what=LinkKind.TERMS, name=name, not_kept=why)
        return
    shown = [f for f in seen.of_runs if f.event.fields.get("terms_digest") == stated]
    for found in shown:
        yield _shown(LinkKind.TERMS, name, found, proofs, digest=stated, by="coordinator")
    if not shown:
        why = proofs.elsewhere or "no answer to these terms was recorded yet"
        yield Link(what=LinkKind.TERMS, name=name, digest=stated, by="coordinator", not_kept=why)
    why = "it lies in the terms that name it; the operator's signed policy of this node allows it"
    yield Link(
        what=LinkKind.TERMS,
        name=f"plan of {context['run']}",
        digest=context.get("plan"),
        by="operator",
        not_kept=why,
    )


def _shown(
    what: LinkKind,
    name: str,
    found: _Found,
    proofs: Proofs,
    *,
    digest: str | None = None,
    by: str | None = None,
) -> Link:
    """Return a link that an entry of this log shows; its own digest where it names no other."""
    said = found.event.fields.get("digest")
    return Link(
        what=what,
        name=name,
        digest=digest or _text(said) or leaf_hash(found.leaf).hex(),
        by=by,
        origin=proofs.origin,
        index=found.index,
        leaf=found.leaf,
        receipt=proofs.receipt(found.index),
        trace=_text(found.event.fields.get(TRACE_ID)),
    )


def _by(found: _Found) -> str | None:
    fields = found.event.fields
    return _text(fields.get("approved_by") or fields.get("by"))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []
