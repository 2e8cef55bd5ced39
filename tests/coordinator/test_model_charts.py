"""What is drawn of a release: its card's figures, and nothing where the card has none."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from starlette.requests import Request

from audit.portal.charts import svg_of
from coordinator.pages.model_charts import (
    attack_chart,
    attack_table,
    calibration_chart,
    calibration_table,
    fairness_chart,
    measure,
)
from coordinator.standard import Standard
from models.calibration import expected_calibration_error
from models.figures import judge
from models.release import Release
from tests.coordinator.test_standard import judges, metrics, reads

JUDGES = judges(misread=0.4)


@pytest.fixture(scope="module")
def release() -> Release:
    """Return a release that misreads one group, with its figures and a bound on its card."""
    held = Standard(evaluation=JUDGES).hold(reads())
    return replace(held, card=replace(held.card, epsilon=2.0, delta=1e-5))


def test_gaps_are_drawn_as_the_card_states_them(release: Release) -> None:
    """A bar for each gap; the words name the widest and the organisation's limit."""
    chart = fairness_chart(release.release_id, release.card, 0.1)
    assert chart is not None
    stated = {n: v for n, v in metrics(release).items() if n.startswith("gap in")}
    assert {f"gap in {row['what']}": row["gap"] for row in chart.rows} == stated
    assert max(stated, key=lambda name: stated[name]) in chart.alt
    assert "the limit is 0.1" in chart.alt
    unlimited = fairness_chart(release.release_id, release.card, None)
    assert unlimited is not None
    assert "no limit is set" in unlimited.alt
    assert unlimited.behind == ()


@pytest.mark.parametrize(
    ("name", "drawn_as"),
    [
        ("\x00\x1b\uffff\ud800\u202e", r"\x00\x1b\uffff\ud800\u202e"),
        ("<script>zq</script>]]>&zq;", "<script>zq</script>]]>&zq;"),
    ],
)
def test_a_name_that_no_drawing_can_hold_is_drawn_as_text(
    release: Release, name: str, drawn_as: str
) -> None:
    """What XML has no sign for ended the process that drew it; markup is no part of a drawing."""
    metric = replace(release.card.metrics[0], name=f"gap in {name}")
    wicked = replace(release.card, metrics=(metric,))
    chart = fairness_chart(release.release_id, wicked, 0.1)
    assert chart is not None
    drawn = svg_of(chart, Request({"type": "http", "query_string": b""}))
    found = ET.fromstring(bytes(drawn.body))  # noqa: S314 (what we drew ourselves)
    assert "script" not in {element.tag.rpartition("}")[2] for element in found.iter()}
    words = " ".join(found.itertext())
    assert drawn_as in words


def test_the_diagram_adds_up_to_the_figure_on_the_card(release: Release) -> None:
    """Its gaps, weighted by texts, are the calibration error; the table has the same bins."""
    found = measure(release, JUDGES)
    texts = sum(one.texts for one in found.bins)
    error = sum(one.texts * abs(one.confidence - one.accuracy) for one in found.bins) / texts
    assert error == pytest.approx(metrics(release)["calibration error"])
    judged, probabilities = judge(release, JUDGES)
    assert error == pytest.approx(expected_calibration_error(probabilities, judged.truth))
    assert len(calibration_table(found).rows) == len(found.bins)


def test_a_bound_is_told_as_one(release: Release) -> None:
    """At one false alarm in a hundred: e^2 times as many and delta, and never a measurement."""
    chart = attack_chart(release.release_id, release.card)
    assert chart is not None
    assert "at most 7.4 of 100" in chart.alt
    assert "no measurement" in chart.caption
    assert "7.4" in [row[1].text for row in attack_table(release.card).rows]


def test_nothing_is_drawn_of_what_no_card_states() -> None:
    """Without gaps, set or epsilon there is no drawing, and each table teaches how to have one."""
    bare = reads()
    name, nothing = bare.release_id, measure(bare, None)
    assert fairness_chart(name, bare.card, 0.1) is None
    assert calibration_chart(name, nothing) is None
    assert "evaluation_set" in calibration_table(nothing).empty
    assert attack_chart(name, bare.card) is None
    assert "nobody" in attack_table(bare.card).empty
    other = replace(JUDGES, labels=tuple(f"other {label}" for label in JUDGES.labels))
    assert measure(bare, other).bins == ()


def test_drawings_are_svg_in_both_looks(release: Release) -> None:
    """Each is drawn, light and dark, without script and without a picture from elsewhere."""
    charts = (
        fairness_chart(release.release_id, release.card, 0.1),
        calibration_chart(release.release_id, measure(release, JUDGES)),
        attack_chart(release.release_id, release.card),
    )
    for chart in charts:
        assert chart is not None
        for look in (b"", b"look=dark"):
            drawn = svg_of(chart, Request({"type": "http", "query_string": look}))
            tags = {one.tag.split("}")[-1] for one in ET.fromstring(bytes(drawn.body)).iter()}  # noqa: S314 (our own)
            assert tags <= {"svg", "g", "path", "text", "rect", "line", "defs", "clipPath", "title"}
