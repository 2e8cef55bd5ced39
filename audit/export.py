"""A verified log as lines for other systems: JSON Lines, CSV, or CloudEvents 1.0 for a SIEM.

Nothing is written before the whole log has been verified. A line says the entry's place and its
leaf hash, so that whoever has it can ask for the receipt. Payloads are not in a log's leaves,
and so in no export.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from audit.archive import Archive
from audit.checkpoint import open_checkpoint
from audit.events import event_to_dict
from audit.keys import VerifyKey
from audit.leaf import decode_leaf
from audit.trace_context import TRACE_ID
from audit.tree import leaf_hash
from audit.verify import Progress, read_leaves, verify_log
from policies.canonical import canonical

COLUMNS = ("index", "at", "kind", "fields", "commitment", "leaf_hash", "trace_id")


class ExportFormat(StrEnum):
    """How a line looks."""

    JSONL = "jsonl"  # JSON Lines: one object a line
    CSV = "csv"  # RFC 4180, with a header; the fields are one JSON column
    CLOUDEVENTS = "cloudevents"  # CloudEvents 1.0, JSON format, one event a line


def export_log(
    path: Path,
    key: VerifyKey,
    how: ExportFormat,
    *,
    progress: Progress | None = None,
    archive: Archive | None = None,
) -> Iterator[str]:
    """Verify a log's file, then yield it line by line, each with its line break.

    Raises:
        LogTampered: It does not hold; nothing is yielded.
        EvidenceUnavailable: The file cannot be read.
    """
    verified = verify_log(path, key, progress=progress, archive=archive)
    origin = open_checkpoint(verified.note, verified.keys).origin
    leaves = read_leaves(path, verified.size, archive=archive)
    return _lines(leaves, origin, how)


def _lines(leaves: Iterable[tuple[int, bytes]], origin: str, how: ExportFormat) -> Iterator[str]:
    if how is ExportFormat.CSV:
        yield _row(COLUMNS)
    for index, leaf in leaves:
        record = _record(index, leaf)
        match how:
            case ExportFormat.JSONL:
                yield _json({"origin": origin, **record})
            case ExportFormat.CSV:
                cells = {**record, "fields": canonical(record["fields"]).decode()}
                yield _row([cells[name] for name in COLUMNS])
            case ExportFormat.CLOUDEVENTS:
                yield _json(_cloud_event(record, origin))


def _record(index: int, leaf: bytes) -> dict[str, Any]:
    event, commitment = decode_leaf(leaf)
    return {
        "index": index,
        **event_to_dict(event),
        "commitment": None if commitment is None else commitment.hex(),
        "leaf_hash": leaf_hash(leaf).hex(),
        TRACE_ID: event.fields.get(TRACE_ID),
    }


def _cloud_event(record: dict[str, Any], origin: str) -> dict[str, Any]:
    """Return a CloudEvent: `source` with `id` is unique, as the specification asks.

    `traceid` is an extension attribute, whose names have neither case nor signs.
    """
    traced = {} if record[TRACE_ID] is None else {"traceid": record[TRACE_ID]}
    return {
        **traced,
        "specversion": "1.0",
        "id": str(record["index"]),
        "source": f"/logs/{quote(origin, safe='')}",
        "type": f"undertone.evidence.{record['kind']}",
        **_time(record["at"]),
        "datacontenttype": "application/json",
        "data": {name: record[name] for name in ("fields", "commitment", "leaf_hash")},
    }


def _time(at: float) -> dict[str, str]:
    """Return the time of an event, or nothing where no calendar has it (it is optional)."""
    try:
        return {"time": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")}
    except (ValueError, OverflowError, OSError):
        return {}


def _json(value: dict[str, Any]) -> str:
    return canonical(value).decode() + "\n"


def _row(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
