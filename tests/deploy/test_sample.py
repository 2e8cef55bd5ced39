"""The built-in sample: enough of it, each turn its own, nothing real in it, read strictly."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from deploy.errors import SampleInvalid
from deploy.sample import BRANCHES, MarkKind, SampleLabel, SampleTurn, load_sample
from deploy.sample.marks import read_marks
from policies.vocabulary import AgeBand, Purpose, Vulnerability

LONGEST_SHARED_WORDS = 6

TEST_CARDS = {  # numbers that card schemes and payment services publish for tests
    "2223003122003222",
    "378282246310005",
    "4012888888881881",
    "4111111111111111",
    "4242424242424242",
    "5105105105105100",
    "5555555555554444",
    "6011111111111117",
}
EXAMPLE_IBANS = {  # the examples of the SWIFT IBAN registry and of bank manuals
    "BE68539007547034",
    "DE89370400440532013000",
    "ES9121000418450200051332",
    "FR1420041010050500013M02606",
    "GB82WEST12345698765432",
    "NL91ABNA0417164300",
    "PL61109010140000071219812874",
}
FICTIONAL_PHONES = (  # set aside for drama by Ofcom, the North American plan and ACMA
    r"(?:07|\+447)700900\d{3}",
    r"02079460\d{3}",
    r"01(?:17|21|31|41|61)4960\d{3}",
    r"01632960\d{3}",
    r"212555 ?01\d{2}",
    r"\+614915701(?:56|57|58|59|10)",
)
UNUSED_POSTAL_DISTRICTS = {  # well-formed, but no British post town has them
    "B57", "BS44", "CF55", "EH61", "G88", "L55", "LS34", "M64", "NE57", "NR44", "OX55", "S57",
}  # fmt: skip
POSTCODE = re.compile(r"\b([A-Z]{1,2}\d{1,2}[A-Z]?) \d[A-Z]{2}\b")


@pytest.fixture(scope="module")
def sample() -> tuple[SampleTurn, ...]:
    """Return the shipped sample."""
    return load_sample()


def test_sample_is_as_large_as_promised(sample: tuple[SampleTurn, ...]) -> None:
    """At least 600 turns by 120 customers of three branches; 3 to 8 turns a customer."""
    customers = Counter(turn.customer for turn in sample)
    branches = Counter(turn.branch for turn in sample)
    assert len(sample) >= 600
    assert len(customers) >= 120
    assert set(branches) == set(BRANCHES)
    assert min(branches.values()) >= 200
    assert set(customers.values()) <= set(range(3, 9))


def test_sample_is_balanced_over_the_labels(sample: tuple[SampleTurn, ...]) -> None:
    """Seven labels: neutral near a fifth, each other a tenth to a sixth, in every branch too."""
    shares = {label: sum(t.label is label for t in sample) / len(sample) for label in SampleLabel}
    assert 0.17 <= shares.pop(SampleLabel.NEUTRAL) <= 0.23
    assert all(0.10 <= share <= 0.17 for share in shares.values()), shares
    assert all(share * len(sample) >= 40 for share in shares.values())
    by_branch = Counter((turn.branch, turn.label) for turn in sample)
    assert min(by_branch[branch, label] for branch in BRANCHES for label in SampleLabel) >= 20


def test_turns_are_as_long_as_messages(sample: tuple[SampleTurn, ...]) -> None:
    """Each turn has 6 to 40 words."""
    assert all(6 <= len(turn.text.split()) <= 40 for turn in sample)


def test_turns_are_each_written_for_themselves(sample: tuple[SampleTurn, ...]) -> None:
    """No two turns are alike, and no run of seven words occurs in two of them."""
    assert len({turn.text for turn in sample}) == len(sample)
    seen: dict[tuple[str, ...], int] = {}
    for number, turn in enumerate(sample):
        words = re.findall(r"[\w']+", turn.text.casefold())
        for run in zip(*(words[i:] for i in range(LONGEST_SHARED_WORDS + 1)), strict=False):
            assert seen.setdefault(run, number) == number, (turn.customer, run)


def test_about_a_third_of_the_turns_hold_personal_data(sample: tuple[SampleTurn, ...]) -> None:
    """Between 27 and 34 % are marked, with every label and every kind among them."""
    marked = [turn for turn in sample if turn.marks]
    assert 0.27 <= len(marked) / len(sample) <= 0.34
    assert {turn.label for turn in marked} == set(SampleLabel)
    assert {kind for turn in marked for _, _, kind in turn.marks} == set(MarkKind)


def test_marks_lie_in_the_text_and_not_over_one_another(sample: tuple[SampleTurn, ...]) -> None:
    """Each mark holds trimmed characters of its text, after the one before it."""
    for turn in sample:
        assert not re.search(r"\[\[|\]\]", turn.text)
        end = 0
        for start, stop, _ in turn.marks:
            assert end <= start < stop <= len(turn.text)
            assert turn.text[start:stop] == turn.text[start:stop].strip()
            end = stop


def test_personal_data_is_marked_wherever_it_stands(sample: tuple[SampleTurn, ...]) -> None:
    """Outside the marks is no e-mail, no long number, and no name marked elsewhere nearby."""
    names: dict[str, set[str]] = defaultdict(set)
    for turn in sample:
        names[turn.customer] |= {
            word
            for name in _surfaces(turn, MarkKind.PERSON)
            for word in re.findall(r"\w{3,}", name)
        }
    for turn in sample:
        rest = _unmarked(turn)
        assert not re.search(r"@|\d[\d -]{5,}\d", rest), turn.customer
        for name in names[turn.customer] - {"Mrs", "Frau", "Prof", "Miss", "Old", "Big"}:
            assert not re.search(rf"\b{name}\b", rest), (turn.customer, turn.turn)


def test_emails_have_reserved_domains(sample: tuple[SampleTurn, ...]) -> None:
    """Only example.com and example.org occur (RFC 2606)."""
    for email in _all(sample, MarkKind.EMAIL):
        assert re.fullmatch(r"[a-z0-9.-]+@example\.(?:com|org)", email)


def test_phone_numbers_are_fictional(sample: tuple[SampleTurn, ...]) -> None:
    """Every number is of a range set aside for fiction, so that nobody is rung up."""
    for phone in _all(sample, MarkKind.PHONE):
        digits = re.sub(r"[ ()-]", "", phone)
        assert any(re.fullmatch(shape, digits) for shape in FICTIONAL_PHONES), digits[:5]


def test_card_numbers_and_ibans_are_published_examples(sample: tuple[SampleTurn, ...]) -> None:
    """Each passes its own check sum, as a recogniser expects, and belongs to nobody."""
    for card in _all(sample, MarkKind.CARD_NUMBER):
        assert card.replace(" ", "") in TEST_CARDS
        assert _luhn(card.replace(" ", "")) == 0
    for iban in _all(sample, MarkKind.IBAN):
        compact = iban.replace(" ", "")
        assert compact in EXAMPLE_IBANS
        assert int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def test_postcodes_are_of_districts_that_do_not_exist(sample: tuple[SampleTurn, ...]) -> None:
    """No British postcode in an address can be written to."""
    districts = [m[1] for a in _all(sample, MarkKind.ADDRESS) for m in POSTCODE.finditer(a)]
    assert len(districts) >= 10
    assert set(districts) <= UNUSED_POSTAL_DISTRICTS


def test_people_are_held_out_whole_and_in_every_branch(sample: tuple[SampleTurn, ...]) -> None:
    """About 22 % of each branch's customers are kept for scoring, never some of their turns."""
    splits = {(turn.branch, turn.customer, turn.split) for turn in sample}
    assert len(splits) == len({turn.customer for turn in sample})
    for branch in BRANCHES:
        held_out = [split == "dev" for of, _, split in splits if of == branch]
        assert 0.18 <= sum(held_out) / len(held_out) <= 0.26


def test_consent_is_given_by_most_and_refused_by_some(sample: tuple[SampleTurn, ...]) -> None:
    """All four choices occur, consent to both at about 80 %; minors and unknown ages as well."""
    people = {turn.customer: turn for turn in sample}.values()
    choices = Counter(turn.consent for turn in people)
    both = frozenset({Purpose.SERVICE, Purpose.TRAINING})
    assert set(choices) == {both, *(frozenset({purpose}) for purpose in both), frozenset()}
    assert 0.75 <= choices[both] / len(people) <= 0.85
    assert Counter(turn.age for turn in people)[AgeBand.MINOR] == 2
    assert Counter(turn.age for turn in people)[AgeBand.UNKNOWN] == 2
    vulnerable = {v for turn in people for v in turn.vulnerabilities}
    assert vulnerable == {Vulnerability.BEREAVEMENT, Vulnerability.DEBT}


def test_readme_counts_what_is_there(sample: tuple[SampleTurn, ...]) -> None:
    """The figures in the sample's README are those of the files."""
    readme = (files("deploy.sample") / "README.md").read_text(encoding="utf-8")
    people = {turn.customer: turn.split for turn in sample}
    rows = Counter((turn.label, turn.branch) for turn in sample)
    assert f"{len(sample)} messages by {len(people)} made-up customers" in readme
    assert f"in {sum(bool(turn.marks) for turn in sample)} of the turns" in readme
    assert f"({Counter(people.values())['dev']} customers are" in readme
    for label in SampleLabel:
        counts = [rows[label, branch] for branch in BRANCHES]
        assert " | ".join(["|", label, *map(str, counts), f"{sum(counts)} |"])[2:] in readme


def test_reading_marks_gives_the_text_and_its_places() -> None:
    """Marks are taken out; their places are right, beyond ASCII and side by side too."""
    text, marks = read_marks("Für [[PERSON:Zoë]], [[PHONE:07700 900001]][[EMAIL:z@example.org]].")
    assert text == "Für Zoë, 07700 900001z@example.org."
    assert [(text[start:end], kind) for start, end, kind in marks] == [
        ("Zoë", "PERSON"),
        ("07700 900001", "PHONE"),
        ("z@example.org", "EMAIL"),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        "It is [[PERSON:Quillon",
        "It is Quillon]] here",
        "It is [[NICKNAME:Quillon]] here",
        "It is [[person:Quillon]] here",
        "It is [[PERSON: Quillon]] here",
        "It is [[PERSON:]] here",
        "It is [[ADDRESS:flat of [[PERSON:Quillon]]]] here",
    ],
)
def test_loader_refuses_a_broken_mark_without_repeating_it(tmp_path: Path, broken: str) -> None:
    """The error names file and line, and nothing of what the person wrote."""
    _write(tmp_path, shop={"text": broken})
    with pytest.raises(SampleInvalid, match=r"^shop\.jsonl, line 2: ") as caught:
        load_sample(folder=tmp_path)
    assert "quillon" not in str(caught.value).casefold()


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        ({"label": "rage"}, r"shop\.jsonl, line 2: label"),
        ({"turn": 3}, r"shop\.jsonl, line 2: turn 3"),
        ({"turn": "2"}, r"shop\.jsonl, line 2: turn"),
        ({"customer": "shop-999"}, r"shop\.jsonl, line 2: customers\.jsonl lists no"),
        ({"customer": "airline-001"}, r"shop\.jsonl, line 2: customers\.jsonl lists no"),
        ({"conversation": "shop-002-1"}, r"shop\.jsonl, line 2: the conversation"),
        ({"agent": "unexpected"}, r"shop\.jsonl, line 2: agent"),
        ({"text": ""}, r"shop\.jsonl, line 2: text"),
    ],
)
def test_loader_refuses_a_line_that_is_not_as_described(
    tmp_path: Path, fault: dict[str, str | int], place: str
) -> None:
    """An unknown label, field, customer or order is an error with its place, never a guess."""
    _write(tmp_path, shop=fault)
    with pytest.raises(SampleInvalid, match=place):
        load_sample(folder=tmp_path)


def test_loader_refuses_what_is_missing_or_not_json(tmp_path: Path) -> None:
    """A missing file, a line that is no JSON, and a customer without a turn are errors."""
    _write(tmp_path)
    assert len(load_sample(folder=tmp_path)) == 6
    listed = (tmp_path / "customers.jsonl").read_text()
    (tmp_path / "customers.jsonl").write_text(listed + _customer("shop-002", "shop"))
    with pytest.raises(SampleInvalid, match="lists shop-002, who writes nothing"):
        load_sample(folder=tmp_path)
    (tmp_path / "customers.jsonl").write_text(listed + "not json\n")
    with pytest.raises(SampleInvalid, match=r"customers\.jsonl, line 4"):
        load_sample(folder=tmp_path)
    (tmp_path / "customers.jsonl").unlink()
    with pytest.raises(SampleInvalid, match=r"customers\.jsonl cannot be read"):
        load_sample(folder=tmp_path)


def test_loader_repeats_no_words_of_a_line_it_cannot_read(tmp_path: Path) -> None:
    """Neither the error nor its cause quotes a line that was cut off."""
    _write(tmp_path)
    shop = tmp_path / "shop.jsonl"
    shop.write_text(shop.read_text()[:-20])
    with pytest.raises(SampleInvalid, match=r"^shop\.jsonl, line 2: ") as caught:
        load_sample(folder=tmp_path)
    assert "good day" not in f"{caught.value} {caught.value.__cause__}".casefold()


def _all(sample: tuple[SampleTurn, ...], kind: MarkKind) -> list[str]:
    found = [surface for turn in sample for surface in _surfaces(turn, kind)]
    assert found, f"the sample has no {kind}"
    return found


def _surfaces(turn: SampleTurn, kind: MarkKind) -> Iterator[str]:
    return (turn.text[start:end] for start, end, of in turn.marks if of == kind)


def _unmarked(turn: SampleTurn) -> str:
    rest = turn.text
    for start, end, _ in reversed(turn.marks):
        rest = rest[:start] + "·" + rest[end:]
    return rest


def _luhn(digits: str) -> int:
    doubled = (int(d) * (1 + place % 2) for place, d in enumerate(reversed(digits)))
    return sum(value // 10 + value % 10 for value in doubled) % 10


def _customer(customer: str, branch: str) -> str:
    row = {
        "customer": customer,
        "branch": branch,
        "split": "train",
        "consent": ["service"],
        "age": "adult",
        "vulnerabilities": [],
    }
    return json.dumps(row) + "\n"


def _write(folder: Path, *, shop: dict[str, str | int] | None = None) -> None:
    """Write a small sound sample; `shop` overwrites fields of the shop's second line."""
    people = {branch: f"{branch}-001" for branch in BRANCHES}
    listed = "".join(_customer(customer, branch) for branch, customer in people.items())
    (folder / "customers.jsonl").write_text(listed)
    for branch, customer in people.items():
        lines = [
            {
                "customer": customer,
                "conversation": f"{customer}-1",
                "turn": turn,
                "label": "neutral",
                "text": "Good day, [[PERSON:Quillon]] here.",
            }
            for turn in (1, 2)
        ]
        lines[1] |= (shop or {}) if branch == "shop" else {}
        content = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{branch}.jsonl").write_text(content)
