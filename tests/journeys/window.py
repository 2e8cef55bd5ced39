"""A real browser that shows pages as they were drawn: no server, no socket, no waiting."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser import chromium
from tests.journeys.begun import every_page
from tests.journeys.sites import HOST, Drawn, Site

axe_base = pytest.importorskip("axe_playwright_python.base", reason="the dev extra brings axe")
SERIOUS = frozenset({"serious", "critical"})
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@dataclass(kw_only=True)  # without slots: Playwright notes its handler on the object
class Window:
    """One page of a browser, and what it complains of."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    _shown: dict[str, Any] = field(default_factory=dict)

    def show(self, site: Site, drawn: Drawn, *, size: dict[str, int] = DESK) -> None:
        """Show a page; style, script and pictures come from its site."""
        self._shown.update(site=site, drawn=drawn)
        self.page.emulate_media(color_scheme="light", forced_colors="none", media="screen")
        self.page.set_viewport_size(size)
        self.page.goto(HOST + drawn.path)

    def answer(self, route: Any) -> None:
        """Answer what the browser asks for."""
        asked, drawn = urlsplit(route.request.url), self._shown["drawn"]
        path = asked.path + (f"?{asked.query}" if asked.query else "")
        if route.request.resource_type != "document":
            drawn = self._shown["site"].visitor(None).get(path)
        kept = {n: v for n, v in drawn.headers.items() if n not in _OF_TRANSPORT}
        # A page that goes on by itself would be gone before it was looked at.
        body = drawn.body.replace('http-equiv="refresh"', "")
        route.fulfill(status=drawn.status, headers=kept, body=body)

    def barriers(self, *rules: str) -> list[tuple[str, str]]:
        """Return what axe calls serious, by rule and by the first place."""
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": rules}
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(axe_base.AXE_SCRIPT)
        found = self.page.evaluate(f"axe.run({json.dumps(options)})")["violations"]
        return [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in SERIOUS]

    def keep(self, name: str) -> None:
        """Keep a picture of the page where the run wants them."""
        if folder := os.environ.get("UNDERTONE_ARTEFACTS"):
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


_OF_TRANSPORT = frozenset({"content-length", "strict-transport-security", "content-disposition"})


@contextmanager
def window() -> Iterator[Window]:
    """Open one; it stays in the thread that opened it."""
    with chromium() as opened:
        context = opened.new_context(bypass_csp=False, reduced_motion="reduce", locale="en")
        made = Window(page=context.new_page())
        made.page.set_default_timeout(20_000)
        made.page.on("console", lambda s: made.complaints.extend([s.text] * (s.type == "error")))
        made.page.route("**/*", made.answer)
        yield made
        context.close()


def one_of_each(site: Site) -> list[Drawn]:
    """Return one page of each template, and of each way in which one is refused."""
    found: dict[tuple[str, int], Drawn] = {}
    for drawn in every_page(site):
        if drawn.is_page and drawn.template:
            found.setdefault((drawn.template, drawn.status), drawn)
    return list(found.values())
