"""The index of decisions: the log's own, found by key, made again when it is gone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.portal.decision_index import DecisionIndex, Found, Key, Search
from audit.signing import SigningKey
from tests.audit import postgres

NODES, PURPOSES, RULES = ("north", "south"), ("service", "offers"), ("r04", "r07", "p01")


def _event(number: int, drawn: random.Random) -> Event:
    if number % 5 == 4:
        return Event(kind=EventKind.STOP_SET, at=1.0, fields={"stopped": False, "by": "olga"})
    return Event(
        kind=EventKind.DECISION,
        at=float(drawn.randrange(20)),
        fields={
            "decision_id": f"d{number}",
            "node": drawn.choice(NODES),
            "action": "infer",
            "purpose": drawn.choice(PURPOSES),
            "modality": "text",
            "policy_digest": "a" * 64,
            "use": None,
            "allowed": drawn.random() < 0.5,
            "rules": sorted(drawn.sample(RULES, k=drawn.randrange(1, 3))),
            "request_digest": "b" * 64,
            "standing_digest": "c" * 64,
        },
    )


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def log(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EvidenceLog]:
    """Return a log of 150 entries, most of them decisions, some at the same second."""
    drawn, key = random.Random(3), SigningKey.generate("desk")
    with ExitStack() as stack:
        place: Path | str = tmp_path_factory.mktemp("log") / "log.db"
        if request.param == "postgres":
            place = postgres.make_database(stack.enter_context(postgres.server()), "log")
        made = EvidenceLog(place, key, origin="desk", clock=lambda: 100.0)
        stack.callback(made.close)
        for number in range(150):
            made.append(_event(number, drawn))
        yield made


@pytest.fixture(scope="module")
def index(log: EvidenceLog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecisionIndex]:
    """Return the index of that log."""
    made = DecisionIndex(tmp_path_factory.mktemp("index") / "decisions.db", log)
    made.catch_up()
    yield made
    made.close()


def _scan(log: EvidenceLog, search: Search) -> list[str]:
    """Find the same by reading the whole log."""
    found = []
    for entry in log.entries(0, log.size):
        fields, at = entry.event.fields, entry.event.at
        if entry.event.kind is not EventKind.DECISION:
            continue
        rules = fields["rules"]
        fits = (
            search.node in {None, fields["node"]}
            and search.purpose in {None, fields["purpose"]}
            and search.allowed in {None, fields["allowed"]}
            and (search.rule is None or (isinstance(rules, list) and search.rule in rules))
            and (search.since is None or at >= search.since)
            and (search.until is None or at < search.until)
            and (search.among is None or entry.index in search.among)
        )
        if fits:
            found.append((at, entry.index, str(fields["decision_id"])))
    return [decision for _, _, decision in sorted(found, reverse=True)]


_SEARCHES = st.builds(
    Search,
    node=st.none() | st.sampled_from(NODES),
    purpose=st.none() | st.sampled_from(PURPOSES),
    rule=st.none() | st.sampled_from(RULES),
    allowed=st.none() | st.booleans(),
    since=st.none() | st.floats(0, 20),
    until=st.none() | st.floats(0, 20),
    among=st.none() | st.lists(st.integers(0, 149), max_size=40),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(search=_SEARCHES, limit=st.integers(1, 9))
def test_index_finds_page_by_page_what_the_log_says(
    log: EvidenceLog, index: DecisionIndex, search: Search, limit: int
) -> None:
    """All pages together are what reading the whole log gives: in order, none twice, none lost."""
    found: list[Found] = []
    after: Key | None = None
    while page := index.find(search, limit=limit, after=after):
        assert len(page) <= limit
        found += page
        assert len(found) <= 150, "a page comes twice"
        after = Key(page[-1].at, page[-1].idx)
    assert [one.decision_id for one in found] == _scan(log, search)


def test_index_knows_the_words_of_its_filters(index: DecisionIndex) -> None:
    """The choices of a filter are the values that decisions have, each once."""
    assert index.words("node") == list(NODES)
    assert index.words("rule") == sorted(RULES)
    assert index.words("leaf; DROP TABLE decision") == []


def test_index_comes_back_the_same(log: EvidenceLog, index: DecisionIndex, tmp_path: Path) -> None:
    """Made anew from the log it says the same; one of a longer log is not believed."""
    again = DecisionIndex(tmp_path / "decisions.db", log)
    again.catch_up()
    assert again.find(Search(), limit=500) == index.find(Search(), limit=500)
    again._database.execute("UPDATE reached SET size = 9999")
    again.close()
    opened = DecisionIndex(tmp_path / "decisions.db", log)
    assert (opened.reached(), opened.find(Search(), limit=5)) == (0, [])
    opened.close()


def test_index_holds_no_more_than_the_open_leaf(index: DecisionIndex) -> None:
    """Its columns are ids, use, rules and outcome: there is no place for a person or a fact."""
    rows = index._rows("SELECT name FROM pragma_table_info('decision')")
    expected = {"idx", "at", "decision_id", "node", "action", "purpose", "use", "allowed"}
    assert {row[0] for row in rows} == expected | {"rules", "batch"}


def test_quotes_in_a_filter_are_looked_for_and_not_run(index: DecisionIndex) -> None:
    """A filter with SQL in it finds nothing."""
    assert index.find(Search(node="x' OR 1=1 --"), limit=5) == []
    assert index.find(Search(rule="r04' OR '1'='1"), limit=5) == []
