"""What a person reads: the gathered answer as a page, and the letters, from plain data.

The page shows every field that the JSON has, in the same order, so that neither says more than
the other. Letters are templates in `rights_letters.toml`; they name no person: who sends them
adds the address.
"""

from __future__ import annotations

import html
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from consent.errors import NotFound

_FILE = resources.files("consent").joinpath("rights_letters.toml")


@cache
def _letters() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = tomllib.loads(_FILE.read_text("utf-8"))
    return found


def letter(name: str, language: str, state: Mapping[str, Any]) -> str:
    """Return a letter about a request.

    Raises:
        NotFound: No such letter, or not in that language; the message lists what there is.
    """
    letters = _letters()
    if name not in letters:
        raise NotFound(f"no such letter: expected one of {', '.join(sorted(letters))}")
    if language not in letters[name]:
        languages = ", ".join(sorted(letters[name]))
        raise NotFound(f"no such language: the letter is there in {languages}")
    words = {key: "-" if value is None else value for key, value in state.items()}
    return letters[name][language].format_map(words)


def package_page(package: Mapping[str, Any]) -> str:
    """Return what was gathered as one HTML page without script, style or picture."""
    parts = "".join(
        f"<section><h2>{html.escape(str(source))}</h2>{_value(found)}</section>"
        for source, found in package["by"].items()
    )
    title = f"Your {html.escape(str(package['right']))} request"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title></head><body><main><h1>{title}</h1>"
        f"<p>Request {html.escape(str(package['request']))}</p>{parts}</main></body></html>"
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        rows = (f"<dt>{_label(name)}</dt><dd>{_value(of)}</dd>" for name, of in value.items())
        return f"<dl>{''.join(rows)}</dl>"
    if isinstance(value, list | tuple):
        return (
            f"<ul>{''.join(f'<li>{_value(item)}</li>' for item in value)}</ul>" if value else "none"
        )
    return html.escape("none" if value is None else str(value))


def _label(name: object) -> str:
    return html.escape(str(name).replace("_", " "))
