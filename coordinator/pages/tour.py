"""The coordinator's tour: what each role is asked of runs and models, and where the answer lies."""

from __future__ import annotations

from audit.portal.tour_page import Click, Question, Tour
from audit.staff import StaffRole

_COST = Question(
    asks="What did accuracy cost in privacy?",
    clicks=(
        Click(href="/federation", words="Each run, its ε and what it reached.", target=".table"),
        Click(href="/federation", words="The same as a picture.", target="figure"),
    ),
)
_FAIR = Question(
    asks="Does the model in use treat people alike, and where did it come from?",
    clicks=(
        Click(href="/models", words="Open the newest release.", target="tbody tr"),
        Click(href="/models", words="See which branches run it.", target=".table"),
    ),
)
_INTACT = Question(
    asks="Is what was released in the log?",
    clicks=(
        Click(href="/evidence", words="Verify the log, or take a proof along.", target="#verify"),
        Click(href="/decisions", words="Who approved each release, and by which rule."),
    ),
)

TOUR: Tour = {
    StaffRole.DATA_SCIENTIST: (_COST, _FAIR),
    StaffRole.OFFICER: (_FAIR, _INTACT),
    StaffRole.DPO: (_FAIR, _COST),
    StaffRole.AUDITOR: (_INTACT, _FAIR),
    StaffRole.OPERATOR: (_FAIR,),
}
