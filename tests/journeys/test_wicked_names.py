"""A wicked name is a name in everything that both sites ever send: found by walking, none left out.

Pages, CSV of every table, documents, a person's own files, proofs, drawings, style and script: each
kind of answer is read again by a reader of its kind, and a kind that has none fails.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from audit.portal.tables import ViewRow
from audit.staff import StaffRole
from audit.visible import visible
from consent.service import TrustService
from consent.settings import Declared, Party
from tests.journeys.sites import Drawn, centre_site, trust_site, walk
from tests.journeys.wicked import rename, wicked

NAMES = {
    "trust": ("harbour", "meadow", "station", "north-air", "tele-one", "olga", "dario", "nora"),
    "centre": ("north", "south", "west", "small", "jo"),
}
"""Branches, companies, staff who did things; nodes, a plan, who approved."""
ROLES = {"trust": (StaffRole.OFFICER, StaffRole.OPERATOR), "centre": (StaffRole.OFFICER,)}
OF_OURS = re.compile(r'attachment; filename="[A-Za-z0-9_-][A-Za-z0-9._-]*"')
NAME = re.compile(r"zq[0-9]+z(<|&lt;)")
NUMBER = re.compile(r"[+-]?[0-9][0-9.,e+-]*")


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Drawn]]:
    """Return all that readers of each site meet once every name in it is wicked."""
    folder, found = tmp_path_factory.mktemp("wicked"), {}
    with trust_site(folder / "trust") as trust, centre_site(folder / "centre") as centre:
        for site in (trust, centre):
            names = {name: wicked(n) for n, name in enumerate(NAMES[site.name])}
            visitors = [site.visitor(role) for role in ROLES[site.name]]
            for number, account in enumerate(site.staff.values()):
                row = ViewRow(
                    view=f"{number:016x}",
                    account=account,
                    title=wicked(20),
                    address="/",
                    made_at=1.0,
                )
                site.access.views._ledger.keep_view(row)
            rename(site.folder, names, accounts=site.staff.values())
            if site.name == "trust":
                _tell(site.service, names)
            found[site.name] = [drawn for each in visitors for drawn in walk(each, alike=1)]
    return found


def _tell(service: TrustService, names: Mapping[str, str]) -> None:
    """Let the settings and a branch's answer to each request be wicked, too."""
    words: dict[str, Any] = {name: wicked(40 + n) for n, name in enumerate(Declared().words())}
    party = Party(**{name: wicked(30 + n) for n, name in enumerate(Party.model_fields)})
    declared = Declared.model_construct(purposes=service.settings.declared.purposes, **words)
    told = {
        "declared": declared,
        "parties": dict.fromkeys(names.values(), party),
        "storage": wicked(60),
        "withdraw_at": wicked(61),
        "auditors": (wicked(62),),
    }
    service.settings = service.settings.model_copy(update=told)
    said = {"turns": [{"at": 1.0, wicked(63): [wicked(64)], "rules": [wicked(65)]}]}
    for case in service.rights.requests(only_open=False):
        service.rights._answers.keep(case, wicked(66), said)


def test_every_answer_is_read_again(met: Mapping[str, list[Drawn]]) -> None:
    """No answer breaks, no header is split, nothing in a body is more than text."""
    counted = Counter[str]()
    for drawn in (drawn for found in met.values() for drawn in found):
        kind = drawn.headers.get("content-type", "").partition(";")[0]
        assert drawn.status < 500, (drawn.path, drawn.body)
        for name, value in drawn.headers.items():
            assert value.isascii(), (drawn.path, name)
            assert value.isprintable(), (drawn.path, name)
            assert "zq" not in name, drawn.path
        assert OF_OURS.fullmatch(drawn.headers.get("content-disposition", OURS)), drawn.path
        READERS[kind](drawn)
        counted[kind] += NAME.search(drawn.body) is not None
    assert {kind for kind, seen in counted.items() if seen} == SHOWN
    assert counted["text/csv"] > 10
    assert counted["text/html"] > 40


def _page(drawn: Drawn) -> None:
    page = drawn.markup
    assert not {"zq", "@zqattr"} & page.names, drawn.path
    assert visible(drawn.body) == drawn.body, drawn.path
    for link in (*page.links, *page.sources):
        assert link.startswith(("/", "?", "#", "data:")), (drawn.path, link)
        assert not link.startswith("//"), (drawn.path, link)


def _table(drawn: Drawn) -> None:
    """As many cells in each row; whatever separates cells where it is opened, none a formula."""
    for separator in ",;":
        text = io.StringIO(drawn.body, newline="")
        rows = list(csv.reader(text, delimiter=separator, strict=separator == ","))
        if separator == ",":
            assert len({len(row) for row in rows}) == 1, drawn.path
        cells = [cell.strip() for row in rows for cell in row]
        wrong = [cell for cell in cells if cell.startswith(BEGINS) and not NUMBER.fullmatch(cell)]
        assert wrong == [], drawn.path


def _drawing(drawn: Drawn) -> None:
    found = ET.fromstring(drawn.body)  # noqa: S314 (what we drew ourselves)
    names = {element.tag.rpartition("}")[2] for element in found.iter()}
    assert names <= {
        "svg",
        "g",
        "path",
        "text",
        "title",
        "desc",
        "rect",
        "defs",
        "clipPath",
        "line",
    } | {"style", "circle"}, (drawn.path, names)
    assert not [n for e in found.iter() for n in e.attrib if n.startswith("on") or n == "zqattr"]


def _values(drawn: Drawn) -> None:
    json.loads(drawn.body)


def _words(drawn: Drawn) -> None:
    assert visible(drawn.body) == drawn.body, drawn.path


def _ours(drawn: Drawn) -> None:
    assert "zq" not in drawn.body, drawn.path


def _typeset(drawn: Drawn) -> None:
    assert drawn.body.startswith("%PDF-"), drawn.path


OURS = 'attachment; filename="none"'
BEGINS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
READERS: Mapping[str, Callable[[Drawn], None]] = {
    "text/html": _page,
    "text/csv": _table,
    "image/svg+xml": _drawing,
    "application/json": _values,
    "application/ld+json": _values,
    "application/problem+json": _values,
    "text/markdown": _words,
    "text/plain": _words,
    "application/pdf": _typeset,
    "text/css": _ours,
    "text/javascript": _ours,
    "": _ours,
}
SHOWN = {"text/html", "text/csv", "image/svg+xml"}
"""The kinds in which names stand; documents in all their forms are read by a test of their own."""
