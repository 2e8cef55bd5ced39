"""A real Chromium for tests, this machine's or Playwright's, and a site on loopback for it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from audit.serve import Listener, serve_all

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


@contextmanager
def served(app: FastAPI, *, pki: Path | None = None) -> Iterator[str]:
    """Serve an application on loopback in a thread; yield its address, without a slash.

    Args:
        app: What is served.
        pki: A folder with `portal.crt` and its key: TLS for `localhost`; without, plain HTTP.
    """
    listener = Listener(
        app=app,
        certificate=None if pki is None else pki / "portal.crt",
        private_key=None if pki is None else pki / "portal.key",
    )
    stop, ready, found = threading.Event(), threading.Event(), list[str]()

    def here(addresses: list[str]) -> None:
        found.extend(addresses)
        ready.set()

    serving = threading.Thread(
        target=serve_all,
        args=([listener],),
        kwargs={"on_ready": here, "stop": stop},
        daemon=True,
    )
    serving.start()
    if not ready.wait(60):
        raise RuntimeError("the application was not served within a minute")
    port = found[0].rsplit(":", 1)[1].strip("/")
    try:
        yield f"http{'' if pki is None else 's'}://localhost:{port}"
    finally:
        stop.set()
        serving.join()
