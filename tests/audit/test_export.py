"""Exports: a verified log as lines that others read; nothing of one that does not hold."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from audit.errors import LogTampered
from audit.events import Event, EventKind, Value, event_to_dict
from audit.export import COLUMNS, ExportFormat, export_log
from audit.log import EvidenceLog
from audit.signing import SigningKey
from audit.tree import leaf_hash

MakeEvent = Callable[[int], Event]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLOUDEVENT: dict[str, Any] = {  # CloudEvents 1.0.2, spec.md 2 and json-format.md 2 and 3
    "type": "object",
    "required": ["id", "source", "specversion", "type"],
    "propertyNames": {"pattern": "^[a-z0-9]+$"},
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "format": "uri-reference", "minLength": 1},
        "specversion": {"const": "1.0"},
        "type": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "data": {"type": "object"},
    },
    "additionalProperties": {"type": ["string", "boolean", "integer"]},
}
"""What a collector checks an event against before it takes it."""


@pytest.fixture
def events(log: EvidenceLog, event: MakeEvent) -> list[Event]:
    """Return what is in the log: one with a payload, one with hostile words, one of no calendar."""
    fields: dict[str, Value] = {"release": "=cmd", "digest": "@x", "reason": None}
    made = [
        event(1),
        Event(kind=EventKind.RELEASE_REFUSED, at=1_800_000_000.5, fields=fields),
        Event(kind=EventKind.RELEASE_REFUSED, at=9e15, fields={"trace_id": TRACE}),
    ]
    log.clock = lambda: 9e15  # no entry lies ahead of its log's clock
    log.append(made[0], private={"secret": "words"})
    for each in made[1:]:
        log.append(each)
    log.close()
    return made


def lines(tmp_path: Path, key: SigningKey, how: ExportFormat) -> list[str]:
    """Return the lines of an export, each of which ends."""
    found = list(export_log(tmp_path / "log.db", key.verify_key, how))
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in found)
    assert "words" not in "".join(found)
    return found


def leaves(tmp_path: Path) -> list[bytes]:
    """Return the leaves as they lie in the file."""
    with closing(sqlite3.connect(tmp_path / "log.db")) as database:
        return [row[0] for row in database.execute("SELECT leaf FROM entry ORDER BY idx")]


def test_export_as_json_lines_is_every_event(
    tmp_path: Path, key: SigningKey, events: list[Event]
) -> None:
    """Each line is an object with place, event, and the hash that a receipt proves."""
    found = [json.loads(line) for line in lines(tmp_path, key, ExportFormat.JSONL)]
    hashes = [leaf_hash(leaf).hex() for leaf in leaves(tmp_path)]
    for index, (row, event) in enumerate(zip(found, events, strict=True)):
        assert {name: row[name] for name in ("kind", "at", "fields")} == event_to_dict(event)
        assert (row["origin"], row["index"]) == ("node-1.example/log", index)
        assert row["leaf_hash"] == hashes[index]
    assert found[0]["commitment"] is not None
    assert found[1]["commitment"] is None


def test_export_as_csv_reads_back_and_no_cell_is_a_formula(
    tmp_path: Path, key: SigningKey, events: list[Event]
) -> None:
    """A spreadsheet opens it: a header, a row an entry, and nothing that begins like a formula."""
    text = "".join(lines(tmp_path, key, ExportFormat.CSV))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert [json.loads(row["fields"]) for row in rows] == [dict(event.fields) for event in events]
    assert [row["kind"] for row in rows] == [event.kind for event in events]
    assert [row["trace_id"] for row in rows] == ["", "", TRACE]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_export_as_cloudevents_has_what_the_specification_asks(
    tmp_path: Path, key: SigningKey, events: list[Event]
) -> None:
    """CloudEvents 1.0: id, source, specversion and type; source with id unique; RFC 3339 time."""
    found = [json.loads(line) for line in lines(tmp_path, key, ExportFormat.CLOUDEVENTS)]
    assert {row["specversion"] for row in found} == {"1.0"}
    assert {row["source"] for row in found} == {"/logs/node-1.example%2Flog"}
    assert [row["id"] for row in found] == ["0", "1", "2"]
    assert found[1]["type"] == "undertone.evidence.release-refused"
    assert found[1]["time"] == "2027-01-15T08:00:00.500000Z"
    assert "time" not in found[2]  # no calendar has it
    assert [row["data"]["fields"] for row in found] == [dict(event.fields) for event in events]
    assert [row.get("traceid") for row in found] == [None, None, TRACE]
    checks = Draft202012Validator(CLOUDEVENT, format_checker=FormatChecker())
    for row in found:
        checks.validate(row)
    assert not checks.is_valid({**found[0], "leafHash": "x"})


@pytest.mark.parametrize("how", ExportFormat)
def test_export_of_a_log_that_does_not_hold_is_nothing(
    tmp_path: Path, key: SigningKey, events: list[Event], how: ExportFormat
) -> None:
    """An edited last entry is found before the first line."""
    assert events
    with closing(sqlite3.connect(tmp_path / "log.db")) as database, database:
        database.execute("DROP TRIGGER entry_UPDATE")
        database.execute("UPDATE entry SET leaf = CAST(leaf || ' ' AS BLOB) WHERE idx = 2")
    with pytest.raises(LogTampered):
        export_log(tmp_path / "log.db", key.verify_key, how)
