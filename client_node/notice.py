"""The node's first question: is there a published notice that names emotion analysis?

GDPR 13 and AI Act 50(3) come before anything else, so a node without one does not start. The
trust service checks a notice when the officer seals it; the node reads the texts again. What
it found is remembered by version and digest, so that a restart while the trust service is
away does not stop a branch that had its notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client_node.errors import StartRefused, TrustUnavailable
from client_node.trust_client import TrustClient
from consent.errors import RequestInvalid
from consent.notice import decree_from_body
from policies.standing import Governance


def require_notice(client: TrustClient, governance: Governance | None, remembered: Path) -> None:
    """Return if the notice that consents rest on is published and names emotion analysis.

    Args:
        client: Asks the trust service.
        governance: The newest known; None where the node never heard any.
        remembered: File with the version that was found good before.

    Raises:
        StartRefused: There is none, it does not name emotion analysis, or nobody can be asked
            and nothing is remembered.
    """
    if governance is None:
        raise StartRefused("the trust service has not been heard yet: a node needs its standing")
    version = governance.minimum_notice
    try:
        check_notice(client.notice(version), version)
    except TrustUnavailable as error:
        if remembered.exists() and remembered.read_text(encoding="utf-8") == str(version):
            return
        raise StartRefused(
            f"no published notice {version} could be read ({error}): publish one that names "
            "emotion analysis (undertone-trust notice publish)"
        ) from error
    remembered.write_text(str(version), encoding="utf-8")


def check_notice(value: Mapping[str, Any], version: int) -> None:
    """Return if this is that version of a notice, and every language of it names emotion analysis.

    Raises:
        StartRefused: It is not.
    """
    body = {name: value.get(name) for name in ("version", "texts", "material")}
    try:
        decree_from_body("notice", body | {"issued_at": 0.0})
    except RequestInvalid as error:
        raise StartRefused(f"notice {version} does not do: {error}") from error
    if value.get("version") != version:
        raise StartRefused(f"asked for notice {version}, got another")
