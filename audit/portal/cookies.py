"""What a site's cookies are called; each of the two sites has names of its own.

A cookie belongs to a host and not to a port (RFC 6265, section 8.5). Where both sites are on one
host, one name for both would sign a person out of the one who signs in at the other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    """The names of one site's cookies; `site` is a word, none for the trust service's."""

    site: str = ""

    @property
    def session(self) -> str:
        """Return what holds the id of a session."""
        return self._named("session")

    @property
    def visit(self) -> str:
        """Return what binds the forms of a browser that is not signed in."""
        return self._named("visit")

    @property
    def device(self) -> str:
        """Return what a browser keeps in which somebody signed in before."""
        return self._named("device")

    def _named(self, what: str) -> str:
        return f"__Host-undertone-{self.site}-{what}" if self.site else f"__Host-undertone-{what}"
