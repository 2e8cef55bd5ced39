"""The trust service's tour: what each role is asked, and where the answer lies."""

from __future__ import annotations

from audit.portal.tour_page import Click, Question, Tour
from audit.staff import StaffRole

_REFUSED = Click(
    href="/decisions?outcome=refused",
    words="Filter the decisions by outcome, node, purpose, rule and day.",
    target="form[role=search]",
)
_OPEN = Click(
    href="/decisions?outcome=refused",
    words="Open one by its id: the rule in words, the law, the proof to take along.",
    target="tbody tr",
)
_PROVE = Question(
    asks="An authority asks why something was refused, and wants proof.",
    clicks=(Click(href="/decisions", words="Open Decisions."), _REFUSED, _OPEN),
)
_INTACT = Question(
    asks="Was anything removed from the log, or changed in it?",
    clicks=(
        Click(href="/evidence", words="Verify now: every hash and signature.", target="#verify"),
        Click(href="/evidence", words="See who else vouches for it.", target="#witnesses"),
    ),
)
_DUE = Question(
    asks="What must somebody do today?",
    clicks=(
        Click(href="/today", words="The most urgent stands first.", target="main section"),
        Click(href="/people", words="Requests with their clocks.", target="#requests"),
        Click(href="/incidents", words="Breaches with their 72 hours.", target=".table"),
    ),
)
_STOP = Question(
    asks="Something is wrong: how is everything stopped?",
    clicks=(Click(href="/today", words="Stop it here; two people lift it.", target="#stop"),),
)
_CHANGE = Question(
    asks="What would our next rules change?",
    clicks=(
        Click(href="/rulebook", words="Open a bundle for its changes.", target="#bundles"),
        Click(href="/rulebook", words="See what shadows decided otherwise.", target="#shadows"),
        Click(href="/rulebook/question", words="Ask whether a use would be allowed."),
    ),
)
_NODES = Question(
    asks="Which branch is not heard, and who may sign in?",
    clicks=(
        Click(href="/settings", words="Each node, and when it was last heard.", target="#nodes"),
        Click(href="/settings", words="People, and roles that wait.", target="#people"),
    ),
)
_BUDGET = Question(
    asks="How much of people's privacy is left?",
    clicks=(Click(href="/budget", words="Spent, left, and what a guess gains."),),
)
_PAPERS = Question(
    asks="Do our documents fit the system as it is?",
    clicks=(
        Click(href="/documents", words="Each with what it lacks.", target=".table"),
        Click(href="/documents/technical", words="Read it, approve it, export it."),
    ),
)

TOUR: Tour = {
    StaffRole.OFFICER: (_DUE, _PROVE, _CHANGE, _STOP),
    StaffRole.DPO: (_DUE, _PROVE, _PAPERS),
    StaffRole.AUDITOR: (_INTACT, _PROVE),
    StaffRole.DATA_SCIENTIST: (_BUDGET, _PAPERS),
    StaffRole.OPERATOR: (_NODES, _CHANGE, _STOP),
}
