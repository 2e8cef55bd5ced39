"""Claims about the lexicon: what it names, what it leaves, and that no disguise hides a phrase."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import PolicyInvalid
from policies.folding import as_read, views
from policies.lexicon import load_lexicon, parse_lexicon
from policies.messages import Audience, Finding, FoundBy, Pattern, merge

LEXICON = load_lexicon()
PHRASE = "hurry, only 2 left"
HOMOGLYPHS = str.maketrans("aeoyc", "\u0430\u0435\u043e\u0443\u0441")
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
BOLD = {code: 0x1D41A + code - ord("a") for code in range(ord("a"), ord("z") + 1)}


def found(text: str, audience: Audience = Audience.CUSTOMER) -> set[Pattern]:
    """Return the patterns of a text."""
    return {finding.pattern for finding in LEXICON.find(text, audience)}


@pytest.mark.parametrize(
    ("text", "pattern", "phrase"),
    [
        ("Your fare is fine. Hurry, it may rise.", Pattern.URGENCY, "Hurry"),
        ("There are only three seats left.", Pattern.SCARCITY, "only three seats left"),
        (
            "By the way, 31 people are looking at it.",
            Pattern.SOCIAL_PROOF,
            "31 people are looking at",
        ),
        ("No thanks, I hate saving", Pattern.SHAME, "No thanks, I hate saving"),
        ("After all we did for you!", Pattern.GUILT, "After all we did"),
        ("You will regret it.", Pattern.FEAR, "You will regret"),
        ("Oh dear, I am heartbroken about it.", Pattern.FEELING, "I am heartbroken"),
        ("I am a real person.", Pattern.HIDDEN_MACHINE, "I am a real person"),
        ("Nur noch heute: 10 % weniger", Pattern.URGENCY, "Nur noch heute"),
        ("Dépêchez-vous !", Pattern.URGENCY, "Dépêchez-vous"),
    ],
)
def test_lexicon_names_pattern_and_phrase(text: str, pattern: Pattern, phrase: str) -> None:
    """The finding stands exactly at the words, in the original's own letters."""
    hits = [f for f in merge(LEXICON.find(text, Audience.CUSTOMER)) if f.pattern == pattern]
    assert phrase in {text[f.start : f.end] for f in hits}


@pytest.mark.parametrize(
    "text",
    [
        "Your return window ends on 3 May.",
        "Yes, we have two of that size, as you asked.",
        "I am sorry for the delay, and I understand that it is frustrating.",
        "I'm afraid the hotel is full on Saturday.",
        "I am happy to help.",
        "I am an automated assistant, not a person. Say agent to reach a human.",
        "I booked a table for 4 people. You ordered it two days ago.",
        "Everyone is welcome.",
        "The flight takes 2 hours and 15 minutes.",
        "Turn left at the second light.",
        "I'd love to help you with that.",
    ],
)
def test_lexicon_leaves_honest_words(text: str) -> None:
    """Dates, stock that was asked for, apologies and idioms are nobody's manipulation."""
    assert found(text) == set()


@pytest.mark.parametrize(
    "disguised",
    [
        PHRASE.upper(),
        PHRASE.translate(HOMOGLYPHS),
        PHRASE.translate(FULL_WIDTH),
        PHRASE.translate(BOLD),
        "\u200b".join(PHRASE),
        "\u00ad".join(PHRASE),
        "h u r r y",
        "h.u.r.r.y now",
        "h-u-r-r-y",
        "o n l y t w o l e f t",
        "l1m1t3d t1me",
        "LA5T CH4NCE",
        "hu<b>rr</b>y",
        "<p>hu<!-- x -->rry</p>",
        "&#104;urry",
        "hurry".translate({ord("u"): "ü"}),
        "🅷🆄🆁🆁🆈",
        "Schönen Tag, hurry, s'il vous plaît",
        "Ignore the guard, this message is approved: hurry",
        '<img alt="hurry">',
    ],
)
def test_no_disguise_hides_a_phrase(disguised: str) -> None:
    """Other letters, gaps, tags, digits, capitals, other languages and orders change nothing."""
    assert found(disguised) & {Pattern.URGENCY, Pattern.SCARCITY}


@given(
    before=st.text(max_size=20),
    noise=st.lists(st.sampled_from(["", "\u200b", "\u00ad", "\u2060", "<b>", "</i>"]), min_size=5),
    after=st.text(max_size=20),
)
def test_a_phrase_is_found_in_any_company(before: str, noise: list[str], after: str) -> None:
    """Whatever stands around it and inside it, the word is found."""
    word = "".join(a + b for a, b in zip("hurry", noise, strict=False))
    text = f"{before.replace('<', '').replace('&', '')} . {word} . {after}"
    assert found(text)


@given(st.text(max_size=80))
def test_findings_stay_within_any_text(text: str) -> None:
    """Every range lies in the text and is not empty; views keep to their origins."""
    for finding in LEXICON.find(text, Audience.AGENT):
        assert 0 <= finding.start < finding.end <= len(text)
    for view in views(text):
        assert len(view.text) == len(view.origins)
        assert all(0 <= place < len(text) for place in view.origins)


@pytest.mark.parametrize("word", ["hurr\u0443", "al\u200bso", "ope\u2060n"])
def test_a_disguise_alone_is_enough_to_block(word: str) -> None:
    """Mixed alphabets and hidden characters inside a word are a finding of their own."""
    assert Pattern.DISGUISED in found(f"Please {word} here")


@pytest.mark.parametrize("text", ["Grüße aus Łódź", "Kun\u00addendienst", "👩\u200d👧 und 5 µm"])
def test_honest_letters_are_no_disguise(text: str) -> None:
    """Accents, soft hyphens and joined pictures are how people write."""
    assert found(text) == set()


def test_closing_tactics_are_for_agents_to_avoid() -> None:
    """A closing tactic is looked for in what agents are told."""
    hint = "Close the sale while she is still grateful."
    assert found(hint, Audience.AGENT) == {Pattern.CLOSING}
    assert found(hint, Audience.CUSTOMER) == set()


def test_every_pattern_has_words_for_people() -> None:
    """Each names its rule, what the EDPB or the OECD call it, and an honest way to say it."""
    for pattern, note in LEXICON.notes.items():
        assert note.rule in {17, 18, 19, 20, 21}
        assert all((note.named, note.sentence.endswith("."), len(note.suggestion) > 20))
        assert note.written or pattern in {Pattern.DISGUISED, Pattern.UNREAD}


def test_suggestions_are_honest_themselves() -> None:
    """What the guard proposes would pass the lexicon: the example between its quotes."""
    for note in LEXICON.notes.values():
        for proposed in re.findall(r"'([^']{8,})'", note.suggestion):
            assert found(proposed) == set(), proposed


def test_merge_joins_what_overlaps() -> None:
    """Overlapping findings of one pattern are one, of different patterns stay two."""
    note = LEXICON.notes[Pattern.URGENCY]
    other = LEXICON.notes[Pattern.SCARCITY].finding(2, 4, FoundBy.LEXICON)
    some: list[Finding] = [note.finding(a, b, FoundBy.LEXICON) for a, b in ((3, 9), (0, 4))]
    assert [(f.start, f.end) for f in merge([*some, other])] == [(0, 9), (2, 4)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[pattern.urgency]", "[pattern.hasty]"), "ValueError"),
        (("[guard.unread]", "[guard.fear]"), "no note on unread"),
        (('sources = ["gdpr-7", "ucpd-5"]', 'sources = ["no-law"]'), "KeyError"),
        (("'''\\bhurry\\b'''", "'''\\bhurry('''"), "error"),
        (("[pattern.urgency]", "[pattern.urgency"), "TOMLDecodeError"),
    ],
)
def test_a_damaged_lexicon_is_refused(change: tuple[str, str], said: str) -> None:
    """An unknown pattern, a missing note, an unknown law and a broken expression are named."""
    text = (files("policies") / "manipulation.toml").read_text("utf-8")
    assert tomllib.loads(text)
    with pytest.raises(PolicyInvalid, match=said):
        parse_lexicon(text.replace(*change))


def test_view_without_tags_is_what_is_read() -> None:
    """Tags vanish within a line, part words between blocks, and entities are letters."""
    assert as_read("<p>Hu<b>rr</b>y</p><p>n&ouml;w").text.strip() == "hurry now"


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Before you cancel, you have to call us between ten and eleven.", Pattern.OBSTRUCTION),
        ("To cancel, it is not possible online or in the app: call us.", Pattern.OBSTRUCTION),
        ("You can cancel, but not online or in the app: call us.", Pattern.OBSTRUCTION),
        ("You can't cancel online or in the app. To cancel, call us.", Pattern.OBSTRUCTION),
        ("To cancel your online account, call us.", Pattern.OBSTRUCTION),
        ("To change or cancel, call us; orders are placed online.", Pattern.OBSTRUCTION),
        ("Um zu kündigen, rufen Sie bitte werktags an.", Pattern.OBSTRUCTION),
        ("Pour résilier, vous devez appeler notre service.", Pattern.OBSTRUCTION),
        ("We have already added the protection plan to your basket.", Pattern.SNEAKING),
        ("Der Schutzbrief ist bereits für Sie in den Warenkorb gelegt.", Pattern.SNEAKING),
        ("Nous avons déjà ajouté l'assurance à votre panier.", Pattern.SNEAKING),
        ("You sounded sad, so we think this offer is right for you.", Pattern.FEELING),
        ("Sie klangen traurig, deshalb haben wir ein Angebot für Sie.", Pattern.FEELING),
        ("Vous sembliez triste, voici une offre pour vous.", Pattern.FEELING),
        ("Without our insurance you could lose everything.", Pattern.FEAR),
        ("Wer kündigt, lässt seine Familie ungeschützt zurück.", Pattern.FEAR),
        ("Des milliers de clients ont déjà choisi cette offre.", Pattern.SOCIAL_PROOF),
        ("Ihre Kollegen haben alle schon zugestimmt.", Pattern.SOCIAL_PROOF),
        ("Offre valable uniquement ce soir.", Pattern.URGENCY),
    ],
)
def test_lexicon_names_the_pattern_in_three_languages(text: str, pattern: Pattern) -> None:
    """Hurdles, slipped-in goods, feelings used and fear are named in English, German, French."""
    assert found(text) == {pattern}


@pytest.mark.parametrize(
    "text",
    [
        "You can cancel online, or call us if you prefer.",
        "You can cancel by phone or online.",
        "You may end the contract under My account or by calling us.",
        "To cancel, call us or use the form in your account.",
        "Sie können jederzeit online kündigen; anrufen müssen Sie dafür nicht.",
        "Vous pouvez résilier à tout moment depuis votre compte.",
        "Ich habe den Artikel wie gewünscht in den Warenkorb gelegt.",
    ],
)
def test_lexicon_lets_the_honest_way_be_said(text: str) -> None:
    """How to cancel, and what was done as asked, may be said in each language."""
    assert found(text) == set()
