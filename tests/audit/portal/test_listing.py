"""Tables of pages: exports that no spreadsheet runs, and times in the zone that was chosen."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from audit.portal.listing import Listing, as_csv, plain, safe
from audit.portal.moments import day_bounds, lasting, moment
from audit.portal.site import Area, Site
from audit.staff import Staff, StaffRole


def _read(*texts: str) -> list[list[str]]:
    listing = Listing(
        name="t", caption="c", columns=("a",), rows=[(plain(t),) for t in texts], empty=""
    )
    body = bytes(as_csv(listing).body).decode()
    return list(csv.reader(io.StringIO(body)))[1:]


@given(st.text(max_size=30))
def test_export_begins_no_cell_with_a_formula(text: str) -> None:
    """Whatever a cell says, an export's cell is no formula, and says the same behind the mark."""
    shown = safe(text)
    assert not shown.startswith(("=", "+", "@", "\t", "\r", "\n"))
    assert shown.removeprefix("'") == text.removeprefix("'")
    if shown.startswith("-"):
        assert float(shown) <= 0


def test_export_keeps_numbers_and_marks_formulas() -> None:
    """A negative number stays one; the classic formulas are text."""
    wicked = ['=HYPERLINK("http://x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1"]
    assert [row[0] for row in _read(*wicked)] == [f"'{each}" for each in wicked]
    assert _read("-1.5") == [["-1.5"]]


def test_days_are_those_of_the_zone() -> None:
    """From and to are whole days where the reader is; the last day is in."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    tokyo = ZoneInfo("Asia/Tokyo")
    start, end = day_bounds("2027-03-01", "2027-03-01", tokyo)
    assert start is not None
    assert end is not None
    assert end - start == 86_400
    assert moment(start, tokyo) == "2027-03-01 00:00:00"
    assert lasting(3 * 86_400 + 7_200) == "3 d 2 h"


def test_menu_shows_what_a_role_opens() -> None:
    """An area that is not for somebody's roles is not in their menu, nor their beginning."""
    areas = (
        Area(name="People", path="/people"),
        Area(name="Settings", path="/settings", roles=frozenset({StaffRole.OPERATOR})),
    )
    site = Site(areas=areas, other=areas, other_url="https://other.example/")
    operator = Staff(name="otto", roles=frozenset({StaffRole.OPERATOR}))
    assert [entry["name"] for entry in site.menu(operator, "/settings/x")] == ["Settings"]
    assert site.menu(operator, "/settings/x")[0]["here"] is True
    assert site.first(operator) == "/settings"
    assert site.elsewhere(operator) == [
        {"name": "Settings", "url": "https://other.example/settings"}
    ]
    assert site.menu(None, "/") == []
