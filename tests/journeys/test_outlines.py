"""The main pages look as they were last looked at: where each part lies, wide and on a telephone.

Pictures differ with every font, so they are for people (`UNDERTONE_ARTEFACTS` names a folder for
them) and what is compared is the outline: each part of a page in order, in twenty-fourths of the
window's width, whether it stands beside the one before or below, whether it has a ground or an edge
of its own. After a change that is meant: look at the pictures, and `make pictures OUTLINES=write`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from audit.staff import StaffRole
from tests.journeys.sites import Drawn, Site, both_sites
from tests.journeys.window import DESK, PHONE, Window, window

KEPT = Path(__file__).parent / "outlines"
SIZES = {"wide": DESK, "phone": PHONE}
TRUST = (
    "/today",
    "/decisions",
    "/evidence",
    "/people",
    "/rulebook",
    "/documents",
    "/documents/dpia",
    "/incidents",
    "/settings",
)
CENTRE = ("/federation", "/models", "/insight")
OTHERS = {"home.html": "my", "check.html": "check", "sign_in.html": "sign-in"}
NEAR = 1
"""Twenty-fourths by which a part may lie elsewhere: fonts differ a little."""

_OUTLINE = """() => {
  const parts = "header, nav, main, aside, footer, section, article, form, h1, h2, h3, dl, ol, ul, "
    + "table, figure, details, fieldset, .cards, .card, .badge, .button, button, meter, svg";
  const seen = one => one.getClientRects().length
    && getComputedStyle(one).visibility === "visible";
  const place = x => Math.round(24 * x / innerWidth);
  let before = null;
  const said = (child, depth) => {
    const box = child.getBoundingClientRect(), style = getComputedStyle(child);
    const beside = before && box.top < before.bottom - 1 && box.bottom > before.top + 1;
    const over = beside && box.left < before.right - 1 && box.right > before.left + 1;
    const edge = parseFloat(style.borderTopWidth) || parseFloat(style.borderLeftWidth);
    const inline = style.display.startsWith("inline") || child.matches("button, svg, meter");
    const heads = child.matches("h1, h2") ? child.innerText.replace(/[0-9][0-9,.:]*/g, "0")
      : [...child.querySelectorAll(":scope > thead th")].map(th => th.innerText).join(" | ");
    return "  ".repeat(depth) + [child.localName, ...child.classList].slice(0, 2).join(".")
      + (inline ? "" : ` ${place(box.left)}-${place(box.right)}`)
      + (style.backgroundColor === "rgba(0, 0, 0, 0)" ? "" : " ground") + (edge ? " edge" : "")
      + (over ? " OVER THE ONE BEFORE" : beside ? " beside" : "") + (heads && ` "${heads}"`);
  };
  const within = (one, depth) => [...one.children].filter(seen).flatMap(child => {
    if (!child.matches(parts)) return within(child, depth);
    const line = said(child, depth), box = child.getBoundingClientRect();
    before = null;
    const inner = child.matches("table, svg") ? [] : within(child, depth + 1);
    before = box;
    return [[line, ...inner].join("\\n")];
  }).filter((block, place, all) => all.indexOf(block) === place);
  return within(document.body, 0).join("\\n").split("\\n");
}"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """Return both sites as nobody changed them: what is on a page is always the same."""
    with both_sites(tmp_path_factory.mktemp("outlined")) as made:
        yield made


@pytest.fixture(scope="module")
def eye() -> Iterator[Window]:
    """Return a browser; of this module, since its loop must not outlive it."""
    with window() as opened:
        yield opened


def _main_pages(sites: dict[str, Site]) -> dict[str, tuple[Site, Drawn]]:
    """Return the main pages by name: those of staff, of customers, and the door."""
    found: dict[str, tuple[Site, Drawn]] = {}
    for site, role, paths in (
        (sites["trust"], StaffRole.OFFICER, TRUST),
        (sites["centre"], StaffRole.DATA_SCIENTIST, CENTRE),
    ):
        walked = {drawn.path: drawn for drawn in site.walked(role) if drawn.method == "GET"}
        for path in paths:
            found[f"{site.name}{path.replace('/', '-')}"] = site, walked[path]
    trust = sites["trust"]
    for drawn in trust.walked(None):
        if (name := OTHERS.get(drawn.template)) and drawn.status == 200:
            found.setdefault(name, (trust, drawn))
    return found


def _outline(eye: Window) -> list[str]:
    """Return the outline of what is shown; of parts that are alike and side by side, one."""
    lines: list[str] = eye.page.evaluate(_OUTLINE)
    return lines


def _differs(kept: str, line: str) -> bool:
    """Tell whether a line says something else, or another place that is not near."""
    places = re.compile(r" (-?\d+)-(-?\d+)")
    if places.sub("", kept) != places.sub("", line):
        return True
    was, now = places.search(kept), places.search(line)
    if was is None or now is None:
        return was is not now
    return any(abs(int(a) - int(b)) > NEAR for a, b in zip(was.groups(), now.groups(), strict=True))


def differences(kept: list[str], found: list[str]) -> list[tuple[str, str]]:
    """Return what is not as it was, line by line: as kept, and as found."""
    pairs = zip_longest(kept, found, fillvalue="")
    return [(was, now) for was, now in pairs if _differs(was, now)]


@pytest.mark.parametrize("size", SIZES)
def test_main_pages_look_as_they_were_last_looked_at(
    sites: dict[str, Site], eye: Window, size: str
) -> None:
    """Each part of each main page is there, in its order and place, and none lies over another."""
    pages, wrong = _main_pages(sites), {}
    assert len(pages) == len(TRUST) + len(CENTRE) + len(OTHERS)
    for name, (site, drawn) in pages.items():
        eye.show(site, drawn, size=SIZES[size])
        eye.keep(f"main-{name}-{size}")
        found, kept = _outline(eye), KEPT / f"{name}-{size}.txt"
        if os.environ.get("UNDERTONE_OUTLINES") == "write":
            kept.write_text("\n".join(found) + "\n", encoding="utf-8")
        differ = differences(kept.read_text(encoding="utf-8").splitlines(), found)
        over = [line for line in found if "OVER" in line]
        if differ or over:
            wrong[name] = differ[:5], over
    assert wrong == {}, "look at the pages; the module says how to keep what is meant"


@pytest.mark.parametrize(
    ("style", "size"),
    [
        ("main { max-width: 30rem !important }", "wide"),
        ("nav { display: none !important }", "wide"),
        ("h1 { order: 2; float: right }", "wide"),
        ("table { margin-top: -4rem }", "wide"),
        (".button, button { background: none !important }", "phone"),
        ("main { width: 50% !important }", "phone"),
    ],
)
def test_a_layout_that_broke_is_seen(
    sites: dict[str, Site], eye: Window, style: str, size: str
) -> None:
    """A narrower page, a lost menu, a heading moved, parts over one another, bare buttons."""
    site, drawn = _main_pages(sites)["trust-decisions"]
    eye.show(site, drawn, size=SIZES[size])
    sound = _outline(eye)
    eye.page.evaluate(
        "css => { const sheet = new CSSStyleSheet(); sheet.replaceSync(css);"
        "document.adoptedStyleSheets = [sheet]; }",
        style,
    )
    assert differences(sound, sound) == []
    assert differences(sound, _outline(eye)) != []
