"""The address of a page as a picture that a telephone reads (QR code, ISO/IEC 18004), in SVG.

Drawn here, by no one else's service: the address carries the only authority there is over an
invitation. The picture has a title and a description for whoever cannot see it, and no script.
"""

from __future__ import annotations

import io
from xml.sax.saxutils import escape

import segno

QUIET_ZONE = 4
"""Light modules around the code, which the standard asks for."""


def code_svg(address: str, *, title: str, description: str) -> str:
    """Return the code of an address; a quarter of it may be hidden or dirty (level Q)."""
    drawn = io.BytesIO()
    code = segno.make_qr(address, error="q", boost_error=False)
    code.save(
        drawn,
        kind="svg",
        border=QUIET_ZONE,
        scale=8,
        dark="#000",
        light="#fff",
        xmldecl=False,
        omitsize=True,
        title=title,
        desc=description,
    )
    label = escape(title, {'"': "&quot;"})
    return drawn.getvalue().decode().replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
