"""Rules: what decides where, how it changes, and "would this be allowed?".

    GET /rulebook           bundles and their course, each node's rules, what shadows would change
    GET /rulebook/question  ?node=&action=&use=&purpose=&modality=&setting=&age=&consent=
                            &language=: in that language, or the browser's

The question is put to the rules that the node decides by, over a person who is made up of the
form's answers. Nothing is recorded, no permit comes of it, and no person is asked about.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from audit.portal.frame import page, show
from audit.portal.listing import Cell, Listing, badge, ident, number, plain
from audit.portal.rules_page import preferred
from audit.portal.site import OVERSEERS
from audit.staff import Staff, StaffRole, only
from consent.errors import RequestInvalid
from consent.service import TrustService
from policies.decision import UseRequest
from policies.remedy import YEAR_S, Situation, remedy
from policies.standing import Grant, Standing
from policies.steps import say_way
from policies.vocabulary import (
    Action,
    AgeBand,
    Modality,
    NodeId,
    Purpose,
    RuleId,
    Setting,
    SubjectId,
    Use,
)
from policies.words import NAMES, Language, Reader, rule_pages, say

READERS = OVERSEERS | {StaffRole.OPERATOR}
_Reader = Annotated[Staff, Depends(only(*READERS))]
_NOBODY = SubjectId("made-up")


def rulebook_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/rulebook", include_in_schema=False)

    @router.get("")
    def rulebook(request: Request, _: _Reader) -> Response:
        status = service.bundles.status()
        return show(
            request,
            "rulebook.html",
            tables=[_bundles(status), _nodes(status), _beside(status), _shadows(status)],
            digest=service.engine.policy_digest,
            rules=len(rule_pages()),
        )

    @router.get("/question")
    def question(request: Request, _: _Reader, language: Language | None = None) -> Response:
        chosen = language or preferred(request.headers.get("accept-language", ""))
        words, asked = question_words()[chosen], dict(request.query_params)
        answer = _answer(service, asked, chosen) if asked.get("node") else None
        drawn = page(
            request,
            "question.html",
            lang=chosen.value,
            languages=[
                (each.value, name, f"?{urlencode(asked | {'language': each.value})}")
                for each, name in NAMES.items()
            ],
            words=words,
            crumbs=[(words["rules"], "/rulebook")],
            asked=asked,
            answer=answer,
            options={
                "node": sorted(row.node for row in service.ledger.nodes()),
                "action": [each.value for each in Action if each is not Action.RELEASE],
                "use": [each.value for each in Use],
                "purpose": [each.value for each in Purpose],
                "modality": [each.value for each in Modality],
                "setting": [each.value for each in Setting],
                "age": [each.value for each in AgeBand],
            },
        )
        drawn.headers["content-language"] = chosen.value
        drawn.headers["vary"] = "Accept-Language"
        return drawn

    return router


@cache
def question_words() -> Mapping[Language, Mapping[str, str]]:
    """Return what the page of the question says, by language; a test sees that all is there."""
    text = resources.files("consent.pages").joinpath("question_words.toml").read_text("utf-8")
    return {Language(name): said for name, said in tomllib.loads(text).items()}


def _answer(service: TrustService, asked: dict[str, str], language: Language) -> dict[str, Any]:
    """Return what the rules say of a made-up person, in a language.

    Raises:
        RequestInvalid: A word of the form that is none of ours.
    """
    now = int(service.now())
    try:
        use = Use(asked["use"]) if asked.get("use") else None
        wanted = UseRequest(
            node=NodeId(asked["node"]),
            action=Action.USE if use is not None else Action(asked.get("action", "infer")),
            purpose=Purpose(asked.get("purpose", "service")),
            subject=_NOBODY,
            modality=Modality(asked.get("modality", "text")),
            setting=Setting(asked.get("setting", "customer_service")),
            use=use,
        )
        age = AgeBand(asked.get("age", "adult"))
    except ValueError as error:
        raise RequestInvalid("the question has a word that is none of the vocabulary's") from error
    standing = _made_up(service, wanted, age, asked, now)
    governance = service.officer.governance()
    situation = Situation(request=wanted, standing=standing, governance=governance, now=now)
    found = remedy(service.bundles.rules_of(wanted.node).engine, situation)
    said = [
        {"rule": rule, "words": say(RuleId(rule), Reader.OFFICER, language)}
        for rule in found.decision.rules
    ]
    ways = [say_way(way, language) for way in found.ways]
    return {"allowed": found.decision.allowed, "said": said, "ways": ways}


def _made_up(
    service: TrustService, wanted: UseRequest, age: AgeBand, asked: dict[str, str], now: int
) -> Standing:
    grants: tuple[Grant, ...] = ()
    if asked.get("consent") == "yes":
        newest = max((notice.version for notice in service.officer.notices()), default=1)
        grants = (
            Grant(
                purpose=wanted.purpose,
                modalities=frozenset({wanted.modality}),
                notice_version=newest,
                explicit=True,
                granted_at=now - 1,
                expires_at=now + YEAR_S,
            ),
        )
    return Standing(
        subject=_NOBODY,
        as_of=now,
        age=age,
        grants=grants,
        informed_at=now - 1,
        restricted=asked.get("restricted") == "yes",
    )


def _bundles(status: dict[str, Any]) -> Listing:
    rows: list[tuple[Cell, ...]] = []
    for name, one in status["bundles"].items():
        stage = one["stage"]
        rows.append(
            (
                plain(name, href=f"/rulebook/bundles/{name}/{one['versions'][-1]}"),
                plain(", ".join(map(str, one["versions"]))),
                _version(name, one["in_force"]),
                _version(name, one["candidate"]),
                plain("-") if stage is None else badge(stage, "warn"),
                plain(", ".join(one["nodes"]) or _share(one["percent"])),
            )
        )
    return Listing(
        name="bundles",
        caption="The organisation's own rules, by bundle",
        columns=("Bundle", "Versions", "In force", "Candidate", "Stage", "Candidate decides at"),
        rows=rows,
        empty="No bundle of the organisation's own: the rules that ship decide everywhere. A "
        "bundle can forbid more, never allow more; it is checked, signed by the officer, run as "
        "a shadow, then rolled out: `undertone-trust bundles publish`.",
    )


def _share(percent: int) -> str:
    return f"{percent} % of nodes" if percent else "nowhere yet"


def _version(name: str, version: int | None) -> Cell:
    return plain(version, href=f"/rulebook/bundles/{name}/{version}") if version else plain("-")


def _nodes(status: dict[str, Any]) -> Listing:
    return Listing(
        name="nodes",
        caption="By which rules each node decides",
        columns=("Node", "Profiles", "Bundles in force", "Rules, by digest"),
        rows=[
            (
                plain(node),
                plain(", ".join(one["profiles"]) or "shipped"),
                plain(", ".join(f"{n} {v}" for n, v in one["enforced"].items()) or "none"),
                ident(one["policy_digest"]),
            )
            for node, one in status["nodes"].items()
        ],
        empty="No node is enrolled.",
    )


def _beside(status: dict[str, Any]) -> Listing:
    """Return how much each node decided twice: few differences of few decisions say little."""
    reports = [(node, one["shadow"]) for node, one in status["nodes"].items() if one["shadow"]]
    return Listing(
        name="beside",
        caption="Decided beside, by the rules that are proposed",
        columns=("Node", "Decisions", "Otherwise", "Could not be decided", "Proposed rules"),
        rows=[
            (
                plain(node),
                number(said["decided"]),
                number(sum(change["count"] for change in said["changes"])),
                number(said["failed"]),
                ident(said["proposed_digest"]),
            )
            for node, said in reports
        ],
        empty="No node decides beside.",
    )


def _shadows(status: dict[str, Any]) -> Listing:
    rows = [
        (
            plain(node),
            plain(change["action"]),
            plain(change["purpose"]),
            badge("would open", "bad") if change["opens"] else badge("would close", "warn"),
            plain(", ".join(change["before"])),
            plain(", ".join(change["after"])),
            number(change["count"]),
        )
        for node, one in status["nodes"].items()
        for change in (one["shadow"] or {}).get("changes", ())
    ]
    return Listing(
        name="shadows",
        caption="What a proposed bundle would have decided otherwise, in counts without people",
        columns=("Node", "Action", "Purpose", "Difference", "Rules now", "Rules then", "Times"),
        rows=rows,
        empty="No difference is known. Stage a bundle as a shadow, and nodes count here where it "
        "would have decided otherwise, before it decides anything.",
    )
