"""From which address a request comes, where proxies stand in front: of them and of no others.

A proxy adds to a header the address that it saw. Whoever asks can have put anything into it
before, so it is read from the right: what a proxy of the settings added is believed, and the
first address that is no such proxy's is the caller's (RFC 7239, 8.1). Nothing is believed by
default, and of the two headers that exist only the one of the settings: a proxy passes the other
on as it came.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from starlette.types import ASGIApp, Receive, Scope, Send

from audit.settings import ProxyHeader

Networks = Sequence[IPv4Network | IPv6Network]

_OF_ONE_LINE = 64
"""Whoever has an IPv6 line has all addresses of its first 64 bits (RFC 6177)."""
_MOST_HOPS = 32
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^;,"\s]*))\s*(?=;|$)', re.IGNORECASE)
_NODE = re.compile(
    r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)"
)


class BelieveProxies:
    """ASGI middleware, outside all others: a request comes from where our proxies say."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        proxies: Networks,
        header: ProxyHeader = ProxyHeader.X_FORWARDED_FOR,
    ) -> None:
        self._app, self._proxies, self._header = app, tuple(proxies), header.value.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the caller's address in place of the proxy's."""
        if scope["type"] != "lifespan" and scope.get("client"):
            host = scope["client"][0]
            given = b",".join(v for n, v in scope["headers"] if n == self._header)
            caller = self._caller(host, given.decode("latin-1"))
            if caller != host:
                scope = {**scope, "client": (caller, 0)}
        await self._app(scope, receive, send)

    def _caller(self, host: str, given: str) -> str:
        """Return the last address that is known: that of the first who is no proxy of ours."""
        said = [said for said in given.split(",")[-_MOST_HOPS:] if said.strip()]
        while among(host, self._proxies) and said:
            before = _address_in(said.pop(), forwarded=self._header == b"forwarded")
            if before is None:
                break
            host = before
        return host


def among(host: str, networks: Networks) -> bool:
    """Tell whether an address is one of some networks; what is no address is in none."""
    try:
        address = ipaddress.ip_address(plain_address(host))
    except ValueError:
        return False
    return any(address in network for network in networks)


def plain_address(host: str) -> str:
    """Return an address without its zone, and one of IPv4 within IPv6 as IPv4."""
    bare = host.partition("%")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def shared_by(host: str) -> str:
    """Return by what callers are counted: their address, or the network of an IPv6 line."""
    plain = plain_address(host)
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return plain
    if isinstance(address, IPv4Address):
        return plain
    return str(ipaddress.ip_network((address, _OF_ONE_LINE), strict=False))


def _address_in(said: str, *, forwarded: bool) -> str | None:
    """Return the address that one hop names; None where it names none (unknown, hidden, noise)."""
    node = said.strip()
    if forwarded:
        found = _FOR.search(node)
        if found is None:
            return None
        node = found[1] if found[1] is not None else found[2]
    matched = _NODE.fullmatch(node)
    if matched is None:
        return None
    bare = matched[1] or matched[2] or matched[3]
    try:
        return plain_address(str(ipaddress.ip_address(bare)))
    except ValueError:
        return None
