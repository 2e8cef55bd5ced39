"""Use 4, help to the agent: approved hints for the moment, and the article that fits the turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.signing import SigningKey, seal
from client_node.articles import LONGEST_WORDS, Articles, read_passages
from client_node.errors import ArticlesRejected, StartRefused
from client_node.hints import KIND
from client_node.redaction import Redactor
from models.encoder import Encoder
from policies.vocabulary import Purpose
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, say

PAGES = {
    "returns.md": "# Send a parcel back\n\nPrint the label and bring the parcel to a shop.\n",
    "refund.html": "<html><head><title>x</title></head><body><h1>When the money comes back</h1>"
    "<script>track('everybody')</script><p>A refund reaches the account within five days.</p>",
    "opening-hours.txt": "Shops are open from nine to six, and closed on Sundays.",
    "password.md": "# A forgotten password\n\nUse the link on the sign-in page to set a new one.",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with four articles."""
    for name, text in PAGES.items():
        (tmp_path / "articles" / "all").mkdir(parents=True, exist_ok=True)
        (tmp_path / "articles" / "all" / name).write_text(text, encoding="utf-8")
    return tmp_path / "articles"


def test_articles_are_cut_into_what_a_reader_sees(folder: Path) -> None:
    """Titles and paragraphs of each kind of file; no script, no mark-up, nothing too long."""
    (folder / "long.txt").write_text("word " * 500, encoding="utf-8")
    passages = read_passages(folder)
    titles = {p.article: p.title for p in passages}
    assert titles["all/refund.html"] == "When the money comes back"
    assert titles["all/opening-hours.txt"] == "opening hours"
    assert not any("track" in p.text or "<" in p.text or "#" in p.text for p in passages)
    assert max(len(p.text.split()) for p in passages) == LONGEST_WORDS


@pytest.mark.parametrize(
    ("said", "article"),
    [
        ("how do I send this back, it is the wrong size", "all/returns.md"),
        ("where is my money, you said I would get it back", "all/refund.html"),
        ("I cannot log in to my account any more", "all/password.md"),
        ("when do your shops open?", "all/opening-hours.txt"),
    ],
)
def test_search_finds_the_article_that_the_turn_is_about(
    folder: Path, redactor: Redactor, said: str, article: str
) -> None:
    """Customers' own words find the right page first, on the real encoder."""
    articles = Articles.build(folder, Encoder.load(adapter={}), redactor)
    assert articles.find(redactor.redact(said).text)[0].passage.article == article


def test_search_abstains_where_nothing_is_alike(folder: Path, redactor: Redactor) -> None:
    """A turn about another matter finds nothing."""
    articles = Articles.build(folder, Encoder.load(adapter={}), redactor)
    assert articles.find(redactor.redact("the violinist played a sad waltz").text) == ()


def test_progress_is_heard_to_the_end(world: Any, folder: Path) -> None:
    """Every passage is counted, up to all of them."""
    heard: list[tuple[int, int]] = []
    parts = world.parts()
    Articles.build(folder, parts.encoder, parts.redactor, progress=lambda *now: heard.append(now))
    assert heard == [(n, 4) for n in range(1, 5)]


@pytest.mark.parametrize("what", ["missing", "empty", "bytes", "outside", "large"])
def test_articles_that_cannot_be_read_refuse_the_start(
    world: Any, tmp_path: Path, what: str
) -> None:
    """One line names the folder or the file, and the node does not start."""
    folder = tmp_path / "articles"
    if what != "missing":
        folder.mkdir()
    if what == "bytes":
        (folder / "a.txt").write_bytes(b"\xff\xfe")
    if what == "outside":
        (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
        (folder / "a.txt").symlink_to(tmp_path / "secret.txt")
    if what == "large":
        (folder / "a.txt").write_bytes(b"x " * (1 << 20))
    with pytest.raises(StartRefused, match="article") as refused:
        world.open(articles_folder=folder)
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value.__cause__, ArticlesRejected)


def test_agent_gets_hints_of_the_moment_and_articles(world: Any, folder: Path) -> None:
    """The cue and the step choose the hints; what the turn is about chooses the article."""
    node = angry_node(world, *HELP, articles_folder=folder)
    text = "Shops are open from nine to six, and closed on Sundays."
    answer = say(world, node, text=text, use="agent_hint", step="opening")["use"]
    assert answer["answer"] == "done"
    assert answer["hints"][0].startswith("Let the customer finish")
    assert answer["because"] == "approved for expressed cues of anger, opening"
    kept = say(world, node, text=text)["turn"]
    later = world.api(node).post("/v1/uses/agent_hint", json={"turn": kept, "step": "ending"})
    assert later.json()["hints"][0].startswith("Repeat what was agreed")


def test_hints_where_the_reading_abstained_rest_on_no_cue(world: Any) -> None:
    """A turn in another language gets the hints for any conversation (rule 22)."""
    node = angry_node(world, *HELP)
    german = "Ich warte seit drei Wochen auf meine Bestellung und niemand antwortet mir."
    answer = say(world, node, text=german, use="agent_hint", step="opening")["use"]
    assert answer["hints"] == ["Greet, say your name, and ask what the matter is."]
    assert answer["because"].startswith("no cue")


def test_help_needs_a_consent_that_names_it(world: Any) -> None:
    """Consent to service is not consent to help to agents; the refusal has no hint."""
    answer = say(world, angry_node(world, Purpose.SERVICE), use="agent_hint")["use"]
    assert (answer["answer"], "hints" in answer) == ("refused", False)
    assert "r04-no-consent" in answer["rules"]


def test_signed_list_with_a_forbidden_phrase_refuses_the_start(world: Any, tmp_path: Path) -> None:
    """The officer's own list is used; one bad phrase in it, or no key, stops the node."""
    officer, path = SigningKey.generate("officer"), tmp_path / "hints.sealed"
    row = '[[hint]]\nstate = "anger"\nopening = ["{}"]\n'
    path.write_bytes(seal(KIND, {"hints": row.format("Assume the sale and move on.")}, officer))
    signed = {"hints_file": path, "officer_key": str(officer.verify_key)}
    with pytest.raises(StartRefused, match="closing"):
        world.open(**signed)
    with pytest.raises(StartRefused, match="officer_key"):
        world.open(hints_file=path)
    path.write_bytes(seal(KIND, {"hints": row.format("Listen first.")}, officer))
    node = angry_node(world, *HELP, **signed)
    answer = say(world, node, customer=CUSTOMER, use="agent_hint", step="opening")["use"]
    assert answer["hints"] == ["Listen first."]
