"""`undertone-trust rules`: the rules in words, and what would make a use allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from audit.terminal import emit
from consent.errors import SettingsInvalid
from consent.options_cli import AsJson, misuse_is_told, read_text
from policies.catalogue import CATALOGUE
from policies.engine import PolicyEngine
from policies.profile import profile_page
from policies.remedy import Remedy, remedy, remedy_to_dict, situation_from_dict
from policies.steps import say_ways
from policies.vocabulary import RuleId
from policies.words import Language, Reader, rule_page, rule_pages, say

rules_app = typer.Typer(help="The rules.", no_args_is_help=True)


@rules_app.command("list")
def rules_list(
    *,
    profile: Annotated[str | None, typer.Option("--profile", help="A jurisdiction.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every rule that this version decides by, and every duty of its other parts.

    With a profile, print what a jurisdiction asks on top of them.
    """
    if profile is not None:
        with misuse_is_told():
            emit(profile_page(profile), as_json=as_json)
        return
    pages = rule_pages()
    short = ("rule", "kind", "source", "sentence")
    emit(pages if as_json else [{n: p[n] for n in short} for p in pages], as_json=as_json)


@rules_app.command("show")
def rules_show(
    *,
    rule: str,
    language: Annotated[Language, typer.Option("--language")] = Language.ENGLISH,
    as_json: AsJson = False,
) -> None:
    """Print one rule: words for officer and customer, source and date."""
    with misuse_is_told():
        page = rule_page(RuleId(rule))
        if not as_json and "words" in page:
            words = page.pop("words")
            page |= {f"to the {reader}": said[language] for reader, said in words.items()}
        emit(page, as_json=as_json)


@rules_app.command("what-if")
def rules_what_if(
    *,
    situation: Annotated[Path, typer.Argument(help="JSON: request, standing, governance, now.")],
    language: Annotated[Language, typer.Option("--language")] = Language.ENGLISH,
    as_json: AsJson = False,
) -> None:
    """Say whether a use would be allowed, and what would make it so; nothing is recorded."""
    with misuse_is_told():
        try:
            value = json.loads(read_text(situation))
        except ValueError as error:
            raise SettingsInvalid(f"{situation} is not JSON") from error
        found = remedy(PolicyEngine.load(), situation_from_dict(value))
        emit(
            remedy_to_dict(found, language) if as_json else _in_words(found, language),
            as_json=as_json,
        )


def _in_words(found: Remedy, language: Language) -> dict[str, str]:
    """Return the answer, why, and each way to a yes, for the officer to read."""
    decision = found.decision
    said = {"allowed": "yes" if decision.allowed else "no"}
    for rule, reason in zip(decision.rules, decision.reasons, strict=True):
        known = rule in CATALOGUE
        said[rule] = say(rule, Reader.OFFICER, language) if known else reason
    if decision.allowed:
        return said
    return said | {"allowed if": say_ways(found.ways, language)}
