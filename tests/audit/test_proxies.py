"""Where a request comes from: what proxies of the settings say, and nobody else."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import ValidationError

from audit.http import address_of
from audit.proxies import BelieveProxies
from audit.serve import Listener
from audit.settings import ProxyHeader, ServiceSettings
from tests.audit.test_serve import serving

OURS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
XFF, FORWARDED = ProxyHeader.X_FORWARDED_FOR, ProxyHeader.FORWARDED


def _heard(
    peer: str | None, *given: tuple[str, str], header: ProxyHeader = XFF, proxies: Any = OURS
) -> str | None:
    """Return the address that an app hears of a request from a peer with these headers."""
    heard: list[str | None] = []

    async def app(scope: Any, *_: object) -> None:
        heard.append(scope["client"][0] if scope["client"] else None)

    headers = [(name.encode(), value.encode()) for name, value in given]
    client = None if peer is None else (peer, 50_000)
    scope: Any = {"type": "http", "client": client, "headers": headers}
    told: Any = None
    asyncio.run(BelieveProxies(app, proxies=proxies, header=header)(scope, told, told))
    return heard[0]


@pytest.mark.parametrize(
    ("peer", "said", "caller"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a stranger's own word
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),  # the first is the caller's word
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),  # a proxy asks for itself
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, <script>", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.999", "10.0.0.1"),
        ("10.0.0.1", '"192.0.2.66, 198.51.100.1', "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("fd00::7", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1" + ", 10.0.0.2" * 5_000, "10.0.0.2"),
    ],
)
def test_the_rightmost_that_is_no_proxy_of_ours_is_the_caller(
    peer: str, said: str, caller: str
) -> None:
    """What the caller put before it is not believed, nor what is no address."""
    assert _heard(peer, ("x-forwarded-for", said)) == caller


def test_headers_in_several_lines_are_one_list_in_their_order() -> None:
    """A second line cannot hide what a proxy added to the first."""
    lines = (("x-forwarded-for", "192.0.2.66"), ("x-forwarded-for", "198.51.100.1"))
    assert _heard("10.0.0.1", *lines) == "198.51.100.1"


@pytest.mark.parametrize(
    ("said", "caller"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('For="[2001:db8::1]:4711";proto=https;by=10.0.0.1', "2001:db8::1"),
        ("for=192.0.2.66, proto=https;for=198.51.100.1", "198.51.100.1"),
        ('for="192.0.2.66, for=198.51.100.1', "198.51.100.1"),
        ("for=198.51.100.1, for=_hidden", "10.0.0.1"),
        ("for=198.51.100.1, for=unknown", "10.0.0.1"),
        ("for=198.51.100.1, by=192.0.2.66", "10.0.0.1"),
    ],
)
def test_forwarded_is_read_as_its_standard_says(said: str, caller: str) -> None:
    """RFC 7239: quoted, with ports, and identifiers that are no addresses."""
    assert _heard("10.0.0.1", ("forwarded", said), header=FORWARDED) == caller


def test_only_the_header_of_the_settings_is_read() -> None:
    """A proxy that adds to one header passes the other on as the caller wrote it."""
    both = (("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=192.0.2.66"))
    assert _heard("10.0.0.1", *both) == "198.51.100.1"
    assert _heard("10.0.0.1", both[1]) == "10.0.0.1"
    assert _heard("10.0.0.1", both[0], header=FORWARDED) == "10.0.0.1"
    assert _heard("10.0.0.1", *both, header=FORWARDED) == "192.0.2.66"


@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1", "::1", "testclient", None])
def test_nothing_is_believed_by_default(peer: str | None) -> None:
    """Without proxies in the settings no header counts, not even from this machine."""
    given = (("x-forwarded-for", "198.51.100.1"), ("x-real-ip", "198.51.100.1"))
    assert _heard(peer, *given, proxies=()) == peer


def test_settings_that_would_believe_everybody_are_refused() -> None:
    """A network of all addresses is no proxy."""
    for everybody in ("0.0.0.0/0", "::/0"):
        with pytest.raises(ValidationError, match="believe everybody"):
            ServiceSettings.model_validate({"proxies": [everybody]})
    told = ServiceSettings.model_validate({"proxies": ["10.1.2.3", "fd00::/8"]})
    assert [str(network) for network in told.proxies] == ["10.1.2.3/32", "fd00::/8"]


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_who_has_an_ipv6_line_is_counted_once(peer: str, counted: str) -> None:
    """All addresses of a line's network are one caller, or waits would cost nothing."""
    assert address_of(Request({"type": "http", "client": (peer, 1), "headers": []})) == counted


@pytest.mark.parametrize(
    ("proxies", "heard"), [((), "127.0.0.1"), ((ip_network("127.0.0.1"),), "198.51.100.1")]
)
def test_a_served_app_hears_what_its_proxies_say(proxies: Any, heard: str) -> None:
    """Over a real connection: this machine's proxy, named or not."""
    app = FastAPI()

    @app.get("/")
    def whence(request: Request) -> str:
        return address_of(request)

    with serving(Listener(app=app, proxies=proxies)) as (url,):
        given = {"x-forwarded-for": "192.0.2.66, 198.51.100.1"}
        assert httpx.get(url, headers=given, trust_env=False).json() == heard
