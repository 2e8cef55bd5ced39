"""A real Chromium for tests: this machine's, or the one that Playwright brought."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the dev extra brings Playwright")
SYSTEM_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """Open a browser; without one the test is skipped, and fails where it is required (CI)."""
    with playwright.sync_playwright() as started:
        if SYSTEM_CHROMIUM is None and not Path(started.chromium.executable_path).exists():
            missing = "no Chromium here: run `playwright install chromium`"
            (pytest.fail if "CI" in os.environ else pytest.skip)(missing)
        opened = started.chromium.launch(executable_path=SYSTEM_CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()
