"""The pages on which a person answers and withdraws, drawn from plain data.

One column for a telephone, no script, nothing ticked beforehand; yes and no are buttons of one
kind. Every value is escaped. Words are data (`consent_words.toml`), in each language.
"""

from __future__ import annotations

import html
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from policies.vocabulary import Purpose
from policies.words import Language

_FILE = resources.files("consent").joinpath("consent_words.toml")


@cache
def words_of(language: Language) -> Mapping[str, str]:
    """Return the sentences in a language."""
    found: dict[str, dict[str, str]] = tomllib.loads(_FILE.read_text("utf-8"))
    return found[language]


def question_page(
    language: Language,
    *,
    text: str,
    full: str | None,
    purposes: Iterable[Purpose],
    of_age: bool,
    wrong: str = "",
    csrf: str = "",
) -> str:
    """Return the page that asks: short text, full text below it, a box for each purpose."""
    say = words_of(language)
    boxes = "".join(_box("purpose", p.value, say[p.value]) for p in purposes)
    age = "" if of_age else _box("adult", "yes", say["adult"])
    more = "" if full is None else _more(say["full"], full)
    body = (
        f"{_alert(say, wrong)}<p>{html.escape(text)}</p>{more}<p>{say['ask']}</p>"
        f'<form method="post">{_hidden("csrf", csrf)}{_hidden("language", language)}{boxes}{age}'
        f'<button name="answer" value="yes">{say["agree"]}</button>'
        f'<button name="answer" value="no">{say["no"]}</button></form>{_languages()}'
    )
    return _page(language, say["title"], body)


def choices_page(
    language: Language, *, granted: Iterable[Purpose], said: str = "", csrf: str = ""
) -> str:
    """Return the page of what is in force, each with a button that withdraws it."""
    say = words_of(language)
    buttons = "".join(
        f"<p>{html.escape(say[p.value])}</p>"
        f'<button name="purpose" value="{p.value}">{say["withdraw"]}</button>'
        for p in granted
    )
    form = f'<form method="post">{_hidden("csrf", csrf)}{_hidden("language", language)}{buttons}'
    body = f"{form}</form>" if buttons else f"<p>{say['nothing']}</p>"
    return _page(language, say["choices"], _alert(say, said) + body + _languages())


def told_page(language: Language, name: str, *, link: str | None = None) -> str:
    """Return a page that says one thing, with the link to withdraw by where there is one."""
    say = words_of(language)
    to = "" if link is None else f'<p><a href="{html.escape(link)}">{say["choices"]}</a></p>'
    return _page(language, say["title"], f'<p role="status">{say[name]}</p>{to}')


def _page(language: Language, title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><link rel="stylesheet" href="/portal.css"></head>'
        f'<body><main id="main"><h1>{title}</h1>{body}</main></body></html>'
    )


def _box(name: str, value: str, label: str) -> str:
    box = f'<input type="checkbox" name="{name}" value="{value}" id="{name}-{value}">'
    return f'<p>{box} <label for="{name}-{value}">{html.escape(label)}</label></p>'


def _more(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary><p>{html.escape(text)}</p></details>"


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{html.escape(value)}">'


def _alert(say: Mapping[str, str], name: str) -> str:
    return f'<p role="alert" class="wrong">{say[name]}</p>' if name else ""


def _languages() -> str:
    links = "".join(f'<a href="?language={one}" lang="{one}">{one}</a> ' for one in Language)
    return f"<nav>{links}</nav>"
