"""Random operations on a log and on a model of it, a list, never tell them apart."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.events import Event, EventKind, Value
from audit.keystore import Keystore
from audit.log import Draft, EvidenceLog
from audit.receipt import open_receipt
from audit.signing import SigningKey
from audit.tile_folder import TileFolder
from audit.tree import leaf_hash, root_from_leaves, verify_consistency
from audit.verify import verify_log
from policies.vocabulary import SubjectId

PEOPLE = [SubjectId(f"{number:x}" * 64) for number in (1, 2)]
KEY = SigningKey.generate("model")
DRAFTS = st.tuples(
    st.integers(0, 5),
    st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(0, 9) | st.text(max_size=3)),
    st.none() | st.sampled_from(PEOPLE),
)


class LogAgainstList(RuleBasedStateMachine):
    """The log on one side; on the other what was put in, what is kept, what was given out."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="undertone-model-"))
        self.keystore = Keystore(self.folder / "keys", clock=lambda: 0.0)
        self.events: list[Event] = []
        self.payloads: list[dict[str, Any] | None] = []
        self.whose: list[SubjectId | None] = []
        self.receipts: list[tuple[int, str]] = []
        self.checkpoints: list[Checkpoint] = []
        self.open()

    def open(self) -> None:
        """Open the log on what is there."""
        self.log = EvidenceLog(
            self.folder / "log.db", KEY, origin="m", clock=lambda: 0.0, keystore=self.keystore
        )

    def teardown(self) -> None:
        """Close and clean."""
        self.log.close()
        self.keystore.close()
        shutil.rmtree(self.folder)

    @rule(drafts=st.lists(DRAFTS, max_size=4))
    def append(self, drafts: list[tuple[int, dict[str, Any] | None, SubjectId | None]]) -> None:
        """Append a group, or nothing."""
        made = []
        for number, private, subject in drafts:
            fields: dict[str, Value] = {"sequence": number, "envelope_digest": "a" * 64}
            event = Event(kind=EventKind.STANDING_APPLIED, at=float(number), fields=fields)
            made.append(Draft(event, private, subject))
        first = len(self.events)
        assert self.log.append_many(made) == range(first, first + len(made))
        self.events += [draft.event for draft in made]
        self.payloads += [None if private is None else dict(private) for _, private, _ in drafts]
        self.whose += [draft.subject for draft in made]

    @rule(subject=st.sampled_from(PEOPLE), key_first=st.booleans())
    def forget(self, subject: SubjectId, key_first: bool) -> None:  # noqa: FBT001 (drawn)
        """Erase a person: key and payloads, in either order."""
        steps: list[Callable[[], object]] = [
            lambda: self.keystore.destroy(subject),
            lambda: self.log.forget(subject),
        ]
        for step in steps if key_first else reversed(steps):
            step()
        theirs = [index for index, whose in enumerate(self.whose) if whose == subject]
        assert [self.log._store.payload(index) for index in theirs] == [None] * len(theirs)
        self.payloads = [
            None if whose == subject else payload
            for payload, whose in zip(self.payloads, self.whose, strict=True)
        ]

    @rule()
    def reopen(self) -> None:
        """Close, and open again."""
        self.log.close()
        self.open()

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def give_receipt(self, data: st.DataObject) -> None:
        """Give somebody a receipt to keep."""
        index = data.draw(st.integers(0, len(self.events) - 1))
        self.receipts.append((index, self.log.receipt(index)))

    @rule()
    def give_checkpoint(self) -> None:
        """Give somebody a checkpoint to keep."""
        self.checkpoints.append(open_checkpoint(self.log.checkpoint(), KEY.verify_key))

    @rule()
    def verify(self) -> None:
        """Verify the whole log offline, and its tiles."""
        assert verify_log(self.folder / "log.db", KEY.verify_key).size == len(self.events)
        folder = TileFolder(self.folder / "tiles")
        assert folder.publish(self.log) == folder.verify(KEY.verify_key)

    @invariant()
    def holds_what_was_put_in(self) -> None:
        """Entries in order, payloads where they are kept, and the root of the definition."""
        entries = self.log.entries(0, len(self.events) + 1)
        assert [entry.event for entry in entries] == self.events
        assert self.log.size == len(self.events)
        assert self.log.root() == root_from_leaves(leaf_hash(entry.leaf) for entry in entries)
        assert [self.log.payload(index) for index in range(self.log.size)] == self.payloads

    @invariant()
    def whatever_was_given_out_still_holds(self) -> None:
        """Each receipt proves its leaf, and each checkpoint begins the log of today."""
        for index, receipt in self.receipts:
            assert open_receipt(receipt, self.log.entry(index).leaf, KEY.verify_key)[0] == index
        for old in self.checkpoints:
            if old.size:
                proof = self.log.consistency(old.size, self.log.size)
                verify_consistency(old.size, self.log.size, old.root, self.log.root(), proof)


LogAgainstList.TestCase.settings = hypothesis.settings(
    max_examples=15, stateful_step_count=20, deadline=None
)
TestLogAgainstList = LogAgainstList.TestCase
