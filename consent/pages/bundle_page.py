"""One version of an organisation's own rules: what it changes, in words and in its text.

    GET /rulebook/bundles/{name}/{version}  ?against=N   officer, DPO, auditor, operator

Without `against` it is held against the version in force, or the one before; 0 is the rules that
ship, without this bundle.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from audit.portal.frame import show
from audit.portal.listing import Listing, badge, number, plain, when
from audit.portal.moments import zone_of
from audit.portal.site import OVERSEERS
from audit.staff import StaffRole, only
from consent.errors import NotFound
from consent.service import TrustService
from policies.bundle_diff import Difference, Mark, RuleDifference, differences
from policies.rollout import NO_VERSION, Published

READERS = OVERSEERS | {StaffRole.OPERATOR}
_Version = Annotated[int | None, Query(ge=0, lt=2**31)]
_TONES = {
    Difference.ADDED: "warn",
    Difference.CHANGED: "warn",
    Difference.REMOVED: "bad",
    Difference.REWORDED: "quiet",
    Difference.SAME: "quiet",
}
_TAGS = {Mark.OLD: "del", Mark.NEW: "ins", Mark.BOTH: "span"}


def bundle_page(service: TrustService) -> APIRouter:
    """Return the route over a service."""
    guarded = [Depends(only(*READERS))]
    router = APIRouter(prefix="/rulebook/bundles", include_in_schema=False, dependencies=guarded)

    @router.get("/{name}/{version}")
    def one(request: Request, name: str, version: int, against: _Version = None) -> Response:
        return _shown(request, service, name, version, against)

    return router


def _shown(
    request: Request, service: TrustService, name: str, version: int, against: int | None
) -> Response:
    course = service.bundles.status()["bundles"].get(name)
    if course is None:
        raise NotFound(f"no bundle {name[:40]} is published")
    new = service.bundles.version(name, version)
    other = _before(course, version) if against is None else against
    old = None if other == NO_VERSION else service.bundles.version(name, other)
    found = differences(old, new)
    return show(
        request,
        "bundle.html",
        tables=[_course(service, name, zone_of(request))],
        crumbs=[("Rules", "/rulebook")],
        name=name,
        version=version,
        against=other,
        others=[each for each in (NO_VERSION, *course["versions"]) if each != version],
        changed=[_rule(one) for one in found if one.what is not Difference.SAME],
        same=[one.rule for one in found if one.what is Difference.SAME],
        tests=len(new.tests),
    )


def _before(course: dict[str, Any], version: int) -> int:
    """Return the version in force, or the one before where that is this one itself."""
    earlier = [each for each in course["versions"] if each < version]
    in_force = int(course["in_force"] or NO_VERSION)
    return in_force if in_force != version else max(earlier, default=NO_VERSION)


def _rule(one: RuleDifference) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "what": badge(one.what.value, _TONES[one.what]),
        "before": one.words_before,
        "after": one.words_after,
        "lines": [(_TAGS[mark], mark.value, line) for mark, line in one.lines],
    }


def _course(service: TrustService, name: str, zone: tzinfo) -> Listing:
    rows = [
        (
            when(at, zone),
            number(act.version),
            plain("published" if isinstance(act, Published) else act.stage.value),
            plain("-" if isinstance(act, Published) else _where(sorted(act.nodes), act.percent)),
            plain("officer" if isinstance(act, Published) else act.by),
        )
        for at, act in service.bundles.course(name)
    ]
    return Listing(
        name="course",
        caption="What was done with this bundle, in order",
        columns=("When", "Version", "Stage", "Where", "By"),
        rows=rows,
        empty="Nothing yet.",
    )


def _where(nodes: list[Any], percent: int) -> str:
    return ", ".join(nodes) or (f"{percent} % of nodes" if percent else "-")
