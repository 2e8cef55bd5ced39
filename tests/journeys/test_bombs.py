"""Bodies that are small to send and large to read, at every address that takes one."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Mapping
from io import BytesIO

import pytest

from tests.journeys.sites import Site

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def _zip() -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("a.json", b"0" * 8_000_000)
    return packed.getvalue()


BOMBS: Mapping[str, tuple[bytes, dict[str, str]]] = {
    "lists within lists": (b"[" * 60_000, JSON),
    "closed lists within lists": (b"[" * 30_000 + b"]" * 30_000, JSON),
    "objects within objects": (b'{"a":' * 12_000, JSON),
    "a number of many digits": (b'{"a":' + b"9" * 60_000 + b"}", JSON),
    "a name of many letters": (b'{"' + b"a" * 60_000 + b'":1}', JSON),
    "no text": (b"\xff" * 60_000, JSON),
    "surrogates": (b'{"subject": "\\ud800", "a": "\\udfff"}', JSON),
    "gzip": (
        gzip.compress(b'{"a":"' + b"0" * 40_000_000 + b'"}'),
        JSON | {"content-encoding": "gzip"},
    ),
    "zip": (_zip(), {"content-type": "application/zip"}),
    "fields": (b"a=1&" * 15_000, FORM),
    "one long field": (b"subject=" + b"%41" * 20_000, FORM),
    "parts": (
        b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n" * 1_200,
        {"content-type": "multipart/form-data; boundary=x"},
    ),
    "too large": (b"[" + b"0," * 200_000 + b"0]", JSON),
}


def _send(site: Site, *, every: int) -> int:
    """Send bodies to every address that takes one, as somebody whom it is for; return how many.

    Each address gets one in so many of the bodies, and all of them get one after the other.
    """
    sent, taking = 0, [r for r in site.routes() if r.method in {"POST", "PUT", "PATCH", "DELETE"}]
    for number, route in enumerate(taking):
        path = route.path.replace("{rest:path}", "x").replace("{", "").replace("}", "")
        role = min(route.roles, default=None)
        for kind in list(BOMBS)[number % every :: every]:
            body, headers = BOMBS[kind]
            visitor = site.visitor(role)
            token = {"x-csrf-token": visitor.csrf} if role else {}
            answer = visitor.ask(route.method, path, content=body, headers=headers | token)
            assert answer.status < 500, (kind, route.method, path, answer.body)
            assert len(answer.body) < 60_000, (kind, path)
            sent += 1
    return sent


@pytest.mark.parametrize("name", ["trust", "centre"])
def test_a_body_that_grows_when_it_is_read_breaks_nothing(
    sites: dict[str, Site], name: str
) -> None:
    """Deep, long, packed or many: every address answers in one line, and opens nothing packed."""
    assert _send(sites[name], every=6) > {"trust": 100, "centre": 35}[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trust", "centre"])
def test_none_of_them_breaks_anything(sites: dict[str, Site], name: str) -> None:
    """All of them at every address."""
    assert _send(sites[name], every=1) > {"trust": 600, "centre": 200}[name]
