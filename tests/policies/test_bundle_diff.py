"""What a new version of a bundle changes: every rule once, layout and comments no difference."""

from __future__ import annotations

from policies.bundle import Bundle
from policies.bundle_diff import Difference, Mark, differences
from policies.vocabulary import RuleId

OLD = """
@id("x-a-changed") forbid (principal, action, resource) when { principal.stopped };
@id("x-a-gone") forbid (principal, action == Action::"infer", resource);
@id("x-a-said") forbid (principal, action == Action::"store", resource);
@id("x-a-same") forbid (principal, action == Action::"train", resource);
"""
NEW = """
// another layout, and other words for one
@id("x-a-same")
forbid (principal, action == Action::"train", resource);
@id("x-a-said") forbid (principal, action == Action::"store", resource);
@id("x-a-new") forbid (principal, action == Action::"label", resource);
@id("x-a-changed")
forbid (principal, action, resource) when { principal.stopped && principal.modality == "text" };
"""


def _bundle(rules: str, **words: str) -> Bundle:
    said = {RuleId(f"x-a-{rule}"): {"officer": {"en": text}} for rule, text in words.items()}
    return Bundle(name="a", version=1, rules=rules, words=said, tests=())


def test_every_rule_is_told_once_with_what_became_of_it() -> None:
    """Added, removed, changed in text, told otherwise, and the same in another layout."""
    found = differences(_bundle(OLD, said="before"), _bundle(NEW, said="after"))
    assert {one.rule.removeprefix("x-a-"): one.what for one in found} == {
        "changed": Difference.CHANGED,
        "gone": Difference.REMOVED,
        "new": Difference.ADDED,
        "said": Difference.REWORDED,
        "same": Difference.SAME,
    }
    assert len(found) == 5


def test_a_changed_text_shows_both_versions_line_by_line() -> None:
    """Taking the old lines alone gives the old text, the new ones the new: nothing is left out."""
    changed = differences(_bundle(OLD), _bundle(NEW))[0]
    marks = [mark for mark, _ in changed.lines]
    assert Mark.OLD in marks
    assert Mark.NEW in marks
    new = "\n".join(line for mark, line in changed.lines if mark is not Mark.OLD)
    old = "\n".join(line for mark, line in changed.lines if mark is not Mark.NEW)
    assert '"text"' in new
    assert '"text"' not in old
    assert old.startswith('@id("x-a-changed")')


def test_against_nothing_all_is_new_and_back_again_all_is_gone() -> None:
    """Version 0 holds no rule of the bundle."""
    assert {one.what for one in differences(None, _bundle(NEW))} == {Difference.ADDED}
    assert {one.what for one in differences(_bundle(NEW), None)} == {Difference.REMOVED}
    assert differences(None, None) == ()
