"""What a person reads: the gathered answer as a page, and the letters, from plain data.

The page shows every field that the JSON has, in the same order, so that neither says more than
the other; it writes times as dates, and beside each rule what it says. Letters are templates in
`rights_letters.toml`; they name no person: who sends them adds the address.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any

from consent.errors import Conflict, NotFound
from consent.paper import breakable, moment_of, paper
from policies.vocabulary import RuleId
from policies.words import Language, Reader, say

_FILE = resources.files("consent").joinpath("rights_letters.toml")
_WORDS = resources.files("consent").joinpath("rights_words.toml")


@cache
def _letters() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = tomllib.loads(_FILE.read_text("utf-8"))
    return found


@cache
def _words() -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = tomllib.loads(_WORDS.read_text("utf-8"))
    return found


def _said(language: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state's particulars, its closed words as people read them."""
    decided = state.get("decided") or {}
    told = dict(state) | {"decision": decided.get("outcome")}
    for field, words in _words()[language].items():
        if told.get(field) is not None:
            told[field] = words[str(told[field])]
    return told


def letter(name: str, language: str, state: Mapping[str, Any]) -> str:
    """Return a letter about a request, where the request is as far as the letter says.

    Raises:
        Conflict: It speaks of what has not happened: no extension, refusal or decision.
        NotFound: No such letter, or not in that language; the message lists what there is.
    """
    letters = _letters()
    if name not in letters:
        raise NotFound(f"no such letter: expected one of {', '.join(sorted(letters))}")
    if language not in letters[name]:
        languages = ", ".join(sorted(letters[name]))
        raise NotFound(f"no such language: the letter is there in {languages}")
    said = _said(language, state)
    fields = [field for _, field, _, _ in Formatter().parse(letters[name][language]) if field]
    if lacking := [field for field in fields if said.get(field) is None]:
        raise Conflict(f"this letter cannot be written yet: no {', '.join(lacking)}")
    return letters[name][language].format_map(said)


def package_page(package: Mapping[str, Any]) -> str:
    """Return what was gathered as one HTML page without script or picture."""
    parts = "".join(
        f"<section><h2>{breakable(str(source))}</h2>{_value(found)}</section>"
        for source, found in package["by"].items()
    )
    request = f"<p>Request <code>{breakable(str(package['request']))}</code></p>"
    return paper(f"Your {package['right']} request", request + parts)


def _value(value: Any, name: str = "") -> str:
    if isinstance(value, Mapping):
        rows = (f"<dt>{_label(key)}</dt><dd>{_value(of, key)}</dd>" for key, of in value.items())
        return f"<dl>{''.join(rows)}</dl>"
    if isinstance(value, list | tuple):
        items = (f"<li>{_value(item, name)}</li>" for item in value)
        return f"<ul>{''.join(items)}</ul>" if value else "none"
    if name == "rules":
        return _rule(str(value))
    if (at := moment_of(name, value)) is not None:
        return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M} UTC</time>'
    return breakable("none" if value is None else str(value))


def _rule(rule: str) -> str:
    return breakable(f"{rule}: {say(RuleId(rule), Reader.CUSTOMER, Language.ENGLISH)}")


def _label(name: object) -> str:
    return breakable(str(name).replace("_", " "))
