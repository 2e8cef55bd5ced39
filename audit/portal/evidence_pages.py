"""Evidence: the log, its checkpoints and witnesses, "verify now", and proofs to take along.

GET  /evidence                        size, checkpoint, witnesses, alarms, the newest entries
POST /evidence/verification           verify the whole log in the background
GET  /evidence/entries/{index}        one entry, to the byte
GET  /evidence/entries/{index}/proof  its `.tlog-proof`
GET  /evidence/checkpoint             the newest checkpoint, cosigned where it is
"""

from __future__ import annotations

import json
from datetime import tzinfo
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from audit.errors import EntryMissing
from audit.events import EventKind
from audit.http import attachment
from audit.log import Entry
from audit.portal.evidence_desk import EvidenceDesk
from audit.portal.frame import form_of, show
from audit.portal.listing import (
    CSV_ROWS,
    Cell,
    Listing,
    badge,
    ident,
    number,
    plain,
    rows_wanted,
    when,
    with_query,
)
from audit.portal.moments import lasting, moment, zone_of
from audit.portal.site import OVERSEERS
from audit.portal.verifying import Verification
from audit.staff import StaffRole, only

_SHOWN_FIELDS, _SHORT = 4, 16


def evidence_pages(desk: EvidenceDesk, *, roles: frozenset[StaffRole] = OVERSEERS) -> APIRouter:
    """Return the routes over a service's log."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(only(*roles))])
    _add_entries(router, desk)

    @router.get("/evidence")
    def evidence(
        request: Request,
        before: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
        kind: str = "",
    ) -> Response:
        return _overview(request, desk, before=before, kind=kind)

    @router.post("/evidence/verification")
    async def verify(request: Request) -> Response:
        await form_of(request)
        desk.verifier.begin(by=request.state.staff.name)
        return RedirectResponse("/evidence", status_code=303)

    @router.get("/evidence/checkpoint")
    def checkpoint() -> Response:
        note = desk.witnessing.cosigned() or desk.log.checkpoint()
        return _file(note, "checkpoint.txt")

    return router


def _add_entries(router: APIRouter, desk: EvidenceDesk) -> None:
    @router.get("/evidence/entries/{index}")
    def entry(request: Request, index: int) -> Response:
        return _one(request, desk, index)

    @router.get("/evidence/entries/{index}/proof")
    def proof(index: int) -> Response:
        _check_known(desk, index)
        return _file(desk.witnessing.receipt(index), f"entry-{index}.tlog-proof")


def _file(text: str, name: str) -> Response:
    return PlainTextResponse(text, headers=attachment(name))


def _overview(request: Request, desk: EvidenceDesk, *, before: int | None, kind: str) -> Response:
    zone, running = zone_of(request), desk.verifier.last()
    return show(
        request,
        "evidence.html",
        tables=[
            _entries(request, desk, zone, before=before, kind=kind),
            _witnesses(desk),
            _alarms(desk, zone),
        ],
        facts=[
            ("Entries", number(desk.log.size)),
            ("Origin", plain(desk.log.origin)),
            ("Root", ident(desk.log.root().hex())),
            ("First key", ident(str(desk.log.key.verify_key))),
        ],
        possible=desk.verifier.possible,
        verification=None if running is None else _verification(running, zone),
        running=running is not None and running.running,
        kinds=[each.value for each in EventKind],
        kind=kind,
    )


def _verification(found: Verification, zone: tzinfo) -> dict[str, object]:
    whole = max(found.size, 1)
    took_s = (found.ended_at or found.started_at) - found.started_at
    return {
        "by": found.by,
        "started": moment(found.started_at, zone),
        "running": found.running,
        "fault": found.fault,
        "unfinished": found.unfinished,
        "done": found.done,
        "size": found.size,
        "percent": round(100 * found.done / whole),
        "root": found.root,
        "checkpoints": found.checkpoints,
        "against": found.against,
        "took": lasting(took_s) if took_s >= 60 else f"{took_s:.1f} s",  # noqa: PLR2004 (a minute)
    }


def _entries(
    request: Request, desk: EvidenceDesk, zone: tzinfo, *, before: int | None, kind: str
) -> Listing:
    limit, of = rows_wanted(request), ""
    if kind in set(EventKind):
        first = before is None
        newest = desk.log.find(EventKind(kind), limit + 1 if first else CSV_ROWS)
        found = [entry for entry in newest if before is None or entry.index < before]
        older = with_query(request, before=found[limit - 1].index) if found[limit:] else ""
        found, of = found[:limit], f" {kind}" + ("" if first else f", of the newest {CSV_ROWS:,}")
    else:
        end = desk.log.size if before is None else min(before, desk.log.size)
        start = max(0, end - limit)
        found = desk.log.entries(start, end)[::-1]
        older = with_query(request, before=start) if start else ""
    return Listing(
        name="entries",
        caption=f"Entries of the log{of and ':'}{of}, newest first",
        columns=("Entry", "When", "What", "Says"),
        rows=[_row(entry, zone) for entry in found],
        empty="No such entry yet. Every decision and every act of staff adds one.",
        older=older,
        newest="" if before is None else with_query(request, before=None),
    )


def _row(entry: Entry, zone: tzinfo) -> tuple[Cell, ...]:
    fields = {n: v for n, v in sorted(entry.event.fields.items()) if v not in (None, [], "")}
    shown = " · ".join(
        f"{_word(n)} {_short(_said(v))}" for n, v in [*fields.items()][:_SHOWN_FIELDS]
    )
    return (
        Cell(text=str(entry.index), href=f"/evidence/entries/{entry.index}"),
        when(entry.event.at, zone),
        plain(entry.event.kind.value),
        Cell(text=shown, full="; ".join(f"{n}={_said(v)}" for n, v in fields.items())),
    )


def _word(name: str) -> str:
    return name.replace("_", " ")


def _short(value: str) -> str:
    return value if len(value) <= _SHORT else f"{value[:10]}…"


def _witnesses(desk: EvidenceDesk) -> Listing:
    note = desk.witnessing.cosigned()
    lines = [] if note is None else note.split("\n\n", 1)[1].splitlines()
    size = 0 if note is None else int(note.split("\n", 2)[1])
    ours = desk.log.key.verify_key.name
    names = sorted({line.split(" ")[1] for line in lines if line.startswith("\u2014 ")} - {ours})
    return Listing(
        name="witnesses",
        caption="Who cosigned our newest cosigned checkpoint",
        columns=("Witness", "Entries cosigned", "Since then"),
        rows=[(plain(name), number(size), number(desk.log.size - size)) for name in names],
        empty="No witness has cosigned this log yet. Nodes do as soon as they connect; until then "
        "the log proves that it holds together, and not that there is only one.",
    )


def _alarms(desk: EvidenceDesk, zone: tzinfo) -> Listing:
    return Listing(
        name="alarms",
        caption="What our witness caught",
        columns=("Log", "What", "At size", "When"),
        rows=[
            (
                plain(alarm.origin),
                badge(alarm.what.value, "bad"),
                number(alarm.size),
                when(alarm.found_at, zone),
            )
            for alarm in desk.witnessing.alarms()
        ],
        empty="Nothing: no log that we witness was ever forked or rolled back.",
    )


def _check_known(desk: EvidenceDesk, index: int) -> None:
    if not 0 <= index < desk.log.size:
        raise EntryMissing(f"the log has no such entry: it has {desk.log.size}, counted from 0")


def _one(request: Request, desk: EvidenceDesk, index: int) -> Response:
    _check_known(desk, index)
    entry, zone = desk.log.entry(index), zone_of(request)
    decision = entry.event.fields.get("decision_id")
    rows = [
        (plain(_word(name)), _value(name, value, zone))
        for name, value in sorted(entry.event.fields.items())
    ]
    return show(
        request,
        "entry.html",
        tables=[
            Listing(
                name="fields",
                caption="What the entry says",
                columns=("Field", "Value"),
                rows=rows,
                empty="Nothing but its kind and time.",
            )
        ],
        crumbs=[("Evidence", "/evidence")],
        index=index,
        facts=[
            ("Kind", plain(entry.event.kind.value)),
            ("When", when(entry.event.at, zone)),
            *(
                [("Decision", ident(decision, href=f"/decisions/{decision}"))]
                if isinstance(decision, str)
                else []
            ),
        ],
        leaf=json.dumps(json.loads(entry.leaf), indent=1, ensure_ascii=False),
        key=str(desk.log.key.verify_key),
    )


def _value(name: str, value: object, zone: tzinfo) -> Cell:
    if isinstance(value, float) and (name in {"since", "until"} or name.endswith("_at")):
        return when(value, zone)
    return plain(_said(value) or "-")


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
