"""A witness by C2SP tlog-witness: what it cosigns, what it refuses and how, what it accuses of."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.cosignature import (
    cosign,
    cosigner_id,
    cosigner_vkey,
    parse_witness,
    require_witnesses,
    verify_cosignature,
)
from audit.errors import (
    EvidenceUnavailable,
    KeyInvalid,
    LogTampered,
    PeerUnavailable,
    ProofInvalid,
    Refusal,
    SignatureInvalid,
    WitnessRefused,
)
from audit.events import Event, EventKind
from audit.exchange import Exchange
from audit.key_chain import introduce
from audit.key_history import follow_file, write_history
from audit.leaf import encode_leaf
from audit.log import Draft, EvidenceLog
from audit.receipt import open_receipt
from audit.rotation import KeyDesk
from audit.signing import SigningKey, VerifyKey
from audit.submission import submission_of, write_submission
from audit.tree import EMPTY_ROOT
from audit.witnessing import Witnessing, origin_hash
from tests.audit.conftest import SetClock

MakeEvent = Callable[[int], Event]


class Service:
    """A log and its witnessing, and everybody's keys."""

    keys: dict[str, VerifyKey]

    def __init__(
        self, folder: Path, name: str, clock: SetClock, keys: dict[str, VerifyKey]
    ) -> None:
        self.folder, self.name, self.clock, self.keys = folder, name, clock, keys
        self.key = SigningKey.generate(name)
        keys[name] = self.key.verify_key
        self.away = False
        folder.mkdir()
        self.open()

    def open(self) -> None:
        """Open log and witness on the files that are there."""
        path = self.folder / "log.db"
        self.log = EvidenceLog(path, self.key, origin=self.name, clock=self.clock)
        self.witnessing = Witnessing(
            self.folder / "witness.db",
            self.log,
            clock=self.clock,
            find_log=self.keys.get,
            find_witness=self.keys.get,
        )
        self.exchange = Exchange(self.witnessing, clock=self.clock)

    def close(self) -> None:
        """Close both."""
        self.witnessing.close()
        self.log.close()

    def witness(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer as a peer; a submission is the word of its log."""
        if self.away:
            raise PeerUnavailable("away")
        whole, _, query = path.removeprefix("/v1/witness").partition("?")
        answer = self.witnessing.answer(method, whole, query, body, said_at=self.clock())
        return answer.status, answer.body

    def add(self, event: MakeEvent, count: int, *, first: int = 0) -> None:
        """Append a group."""
        self.log.append_many([Draft(event(first + number)) for number in range(count)])

    def alarms(self) -> list[tuple[str, str, int]]:
        """Return whom this service accuses of what, at which size."""
        return [(a.origin, a.what.value, a.size) for a in self.witnessing.alarms()]


@pytest.fixture
def services(tmp_path: Path, clock: SetClock) -> Iterator[dict[str, Service]]:
    """Return three services that know one another's keys."""
    keys: dict[str, VerifyKey] = {}
    made = {n: Service(tmp_path / n, n, clock, keys) for n in ("node", "trust", "coordinator")}
    yield made
    for service in made.values():
        service.close()


@pytest.fixture
def node(services: dict[str, Service], event: MakeEvent) -> Service:
    """Return the service whose log is witnessed, with ten entries."""
    services["node"].add(event, 10)
    return services["node"]


@pytest.fixture
def trust(services: dict[str, Service]) -> Service:
    """Return the service that witnesses."""
    return services["trust"]


def refusal(service: Service, body: bytes) -> Refusal:
    """Submit and return why it is refused."""
    with pytest.raises(WitnessRefused) as caught:
        service.witnessing.witness.add_checkpoint(body)
    return caught.value.why


# -- cosignatures -------------------------------------------------------------------------


def test_cosigner_key_id_is_the_one_that_others_compute() -> None:
    """A witness's published vkey of type 4 has the key id that we compute."""
    published = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
    name, key_id, encoded = published.split("+", 2)
    plain = SigningKey.generate("x").verify_key
    key = VerifyKey(name, base64.b64decode(encoded)[1:])
    assert cosigner_id(key).hex() == key_id
    assert cosigner_vkey(key) == published
    assert cosigner_id(plain) != plain.key_id


def _typed(raw: bytes) -> str:
    return base64.b64encode(b"\x06" + raw).decode()


def test_cosignature_by_ml_dsa_44_holds_for_its_checkpoint_and_time_only() -> None:
    """A line of type 0x06 verifies by tlog-cosignature's own message, and nothing else does.

    The message is written out here by hand: label, names, time, start, end, hash.
    """
    made, log = MLDSA44PrivateKey.generate(), SigningKey.generate("log")
    raw = made.public_key().public_bytes_raw()
    key_id = hashlib.sha256(b"w.example\n\x06" + raw).digest()[:4]
    key = parse_witness(f"w.example+{key_id.hex()}+{_typed(raw)}")
    assert cosigner_vkey(key) == str(key)
    note = sign_checkpoint(Checkpoint(origin="log", size=7, root=b"r" * 32), log)

    def line(*, at: int = 1700, name: bytes = b"w.example", end: int = 7) -> str:
        stamp = at.to_bytes(8, "big")
        head = b"subtree/v1\n\0" + bytes([len(name)]) + name + stamp + b"\x03log" + bytes(8)
        signature = made.sign(head + end.to_bytes(8, "big") + b"r" * 32)
        blob = base64.b64encode(key_id + (1700).to_bytes(8, "big") + signature).decode()
        return f"\N{EM DASH} w.example {blob}\n"

    assert verify_cosignature(note + line(), key) == 1700
    require_witnesses(note + line(), [key], at_least=1)
    for wrong in (line(at=1701), line(name=b"v.example"), line(end=8)):
        with pytest.raises(SignatureInvalid):
            verify_cosignature(note + wrong, key)
    with pytest.raises(SignatureInvalid, match="malformed"):
        verify_cosignature(note + line()[:-9] + "\n", key)
    with pytest.raises(KeyInvalid, match="1312 bytes of ML-DSA-44"):
        parse_witness(f"w.example+00000000+{_typed(raw[1:])}")


def test_cosignature_holds_for_its_note_and_time_only(key: SigningKey) -> None:
    """Another root, another time or another witness, and it does not hold."""
    log = SigningKey.generate("log")
    note = sign_checkpoint(Checkpoint(origin="log", size=3, root=b"r" * 32), log)
    other = sign_checkpoint(Checkpoint(origin="log", size=3, root=b"s" * 32), log)
    line = cosign(note, key, at_s=1_700_000_000)
    assert verify_cosignature(note + line, key.verify_key) == 1_700_000_000
    for broken in (other + line, note, note + cosign(note, log, at_s=1)):
        with pytest.raises(SignatureInvalid):
            verify_cosignature(broken, key.verify_key)
    with pytest.raises(SignatureInvalid):
        verify_cosignature(note + cosign(note, key, at_s=0), key.verify_key)


def test_logs_own_signature_is_no_cosignature(key: SigningKey) -> None:
    """What a key signs as a log does not count as its word as a witness, nor the reverse."""
    note = sign_checkpoint(Checkpoint(origin=key.name, size=3, root=b"r" * 32), key)
    with pytest.raises(SignatureInvalid):
        verify_cosignature(note, key.verify_key)


# -- the witness, status by status ----------------------------------------------------------


def test_witness_cosigns_what_continues(node: Service, trust: Service, event: MakeEvent) -> None:
    """First from nothing, then each time from the size before; the cosignature verifies."""
    last = 0
    for count in (0, 1, 5, 0, 100):
        node.add(event, count)
        line = trust.witnessing.witness.add_checkpoint(submission_of(node.log, last))
        verify_cosignature(node.log.checkpoint() + line, trust.key.verify_key)
        last = node.log.size
        seen = trust.witnessing.witness.checkpoint(origin_hash(node.name))
        assert seen == node.log.checkpoint() + line
    assert trust.alarms() == []


def test_witness_answers_each_refusal_with_the_specifications_status(
    node: Service, trust: Service, event: MakeEvent
) -> None:
    """400, 403, 404, 409 with the size, 422: as tlog-witness says, and nothing is cosigned."""
    submit = submission_of(node.log, 0)
    stranger = SigningKey.generate("stranger")
    unknown = sign_checkpoint(Checkpoint(origin="stranger", size=1, root=b"r" * 32), stranger)
    forged = sign_checkpoint(Checkpoint(origin="node", size=1, root=b"r" * 32), stranger)
    empty = sign_checkpoint(Checkpoint(origin="node", size=0, root=b"r" * 32), node.key)
    assert refusal(trust, b"old 0") is Refusal.MALFORMED
    assert refusal(trust, submit.replace(b"old 0", b"old 00")) is Refusal.MALFORMED
    assert refusal(trust, submit.replace(b"old 0", b"old 11")) is Refusal.MALFORMED
    assert refusal(trust, write_submission(0, [b"x" * 32] * 64, unknown)) is Refusal.MALFORMED
    assert refusal(trust, write_submission(0, (), unknown)) is Refusal.UNKNOWN_LOG
    assert refusal(trust, write_submission(0, (), forged)) is Refusal.UNTRUSTED
    assert refusal(trust, write_submission(0, (), empty)) is Refusal.INCONSISTENT
    assert refusal(trust, submission_of(node.log, 3)) is Refusal.CONFLICT
    assert refusal(trust, write_submission(0, [b"x" * 32], node.log.checkpoint())) is (
        Refusal.INCONSISTENT
    )
    assert trust.witnessing.store.origins() == []
    trust.witnessing.witness.add_checkpoint(submit)
    node.add(event, 5)
    conflict = trust.witnessing.answer("POST", "/add-checkpoint", "", submission_of(node.log, 3))
    assert (conflict.status, conflict.body, conflict.media_type) == (
        409,
        b"10\n",
        "text/x.tlog.size",
    )
    broken = write_submission(10, [b"x" * 32], node.log.checkpoint())
    assert refusal(trust, broken) is Refusal.INCONSISTENT
    assert trust.witnessing.witness.last_size("node") == 10
    assert trust.alarms() == []  # anyone could have sent each of these


def test_witness_of_an_empty_log_cosigns_the_empty_root(trust: Service, node: Service) -> None:
    """tlog-witness: a checkpoint of size 0 has the hash of the empty string."""
    note = sign_checkpoint(Checkpoint(origin="node", size=0, root=EMPTY_ROOT), node.key)
    for _ in range(2):
        line = trust.witnessing.witness.add_checkpoint(write_submission(0, (), note))
        verify_cosignature(note + line, trust.key.verify_key)


def test_witness_remembers_before_it_cosigns(
    node: Service, trust: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the memory fails there is no cosignature, and after a restart it still knows."""
    with monkeypatch.context() as patched:

        def fail(_: object) -> None:
            raise EvidenceUnavailable("disk full")

        patched.setattr(trust.witnessing.store, "remember", fail)
        with pytest.raises(EvidenceUnavailable):
            trust.witnessing.witness.add_checkpoint(submission_of(node.log, 0))
    trust.witnessing.witness.add_checkpoint(submission_of(node.log, 0))
    trust.close()
    trust.open()
    assert refusal(trust, submission_of(node.log, 0)) is Refusal.CONFLICT


# -- exchange -------------------------------------------------------------------------------


def test_submitting_log_gets_a_receipt_that_its_witness_vouches_for(
    node: Service, trust: Service, event: MakeEvent
) -> None:
    """A receipt's checkpoint is cosigned, and a verifier may insist on it."""
    assert node.exchange.submit(trust, trust.key.verify_key) == 10
    node.add(event, 3)
    witnesses = [trust.key.verify_key]
    leaf, receipt = node.log.entry(4).leaf, node.witnessing.receipt(4)
    index, signed = open_receipt(
        receipt, leaf, node.key.verify_key, witnesses=witnesses, at_least=1
    )
    assert (index, signed.size) == (4, 10)
    alone = node.witnessing.receipt(12)  # nobody saw it yet
    with pytest.raises(SignatureInvalid):
        open_receipt(
            alone, node.log.entry(12).leaf, node.key.verify_key, witnesses=witnesses, at_least=1
        )


def test_log_that_was_offline_is_cosigned_by_one_proof(
    node: Service, trust: Service, event: MakeEvent
) -> None:
    """What happened while the witness was away is covered when it is back."""
    node.exchange.submit(trust, trust.key.verify_key)
    trust.away = True
    for _ in range(3):
        node.add(event, 7)
        with pytest.raises(PeerUnavailable):
            node.exchange.submit(trust, trust.key.verify_key)
    trust.away = False
    assert node.exchange.submit(trust, trust.key.verify_key) == node.log.size == 31
    assert trust.witnessing.witness.last_size("node") == 31
    assert node.exchange.submit(trust, trust.key.verify_key) == 31  # nothing new is not sent


def test_submission_goes_on_where_either_side_forgot(
    node: Service, trust: Service, event: MakeEvent
) -> None:
    """A lost memory, of the log's or of the witness's, costs a round trip and no alarm."""
    node.exchange.submit(trust, trust.key.verify_key)
    for forgetful in (trust, node):
        forgetful.close()
        for file in forgetful.folder.glob("witness.db*"):
            file.unlink()
        forgetful.open()
        node.add(event, 2)
        assert node.exchange.submit(trust, trust.key.verify_key) == node.log.size
    assert node.alarms() == trust.alarms() == []


def test_witness_that_nobody_can_call_fetches_and_brings(
    node: Service, trust: Service, event: MakeEvent
) -> None:
    """A node behind its router cosigns the trust service's log, which then has its word."""
    trust.add(event, 3)
    assert node.exchange.witness(trust, "trust") == 3
    trust.add(event, 4)
    assert node.exchange.witness(trust, "trust") == 7
    note = trust.witnessing.cosigned()
    assert note is not None
    verify_cosignature(note, node.key.verify_key)


def test_cosignature_by_nobody_known_or_of_another_checkpoint_is_refused(
    node: Service, trust: Service, event: MakeEvent
) -> None:
    """Only a known witness's line over the very checkpoint is kept."""
    trust.add(event, 3)
    note = trust.log.checkpoint()
    stranger = cosign(note, SigningKey.generate("stranger"), at_s=5)
    wrong = cosign(note.replace("3", "4", 1), node.key, at_s=5)
    impostor = cosign(note, SigningKey.generate("node"), at_s=5)
    for line in (stranger, wrong, impostor):
        status, _ = trust.witness("POST", "/v1/witness/cosignatures", f"size 3\n\n{line}".encode())
        assert status == 403
    for body in (b"", b"size 3\n\n", b"size x\n\nline\n", b"\xff"):
        assert trust.witness("POST", "/v1/witness/cosignatures", body)[0] == 400
    assert trust.witnessing.cosigned() is None


# -- misdeeds -------------------------------------------------------------------------------


def put_back(service: Service, change: Callable[[], None]) -> None:
    """Keep the log's file, let it go on, and then restore the old file."""
    copy = service.folder / "backup"
    service.log.close()
    shutil.copytree(service.folder, copy, ignore=shutil.ignore_patterns("backup"))
    service.witnessing.close()
    service.open()
    change()
    service.close()
    for file in service.folder.glob("log.db*"):
        file.unlink()
    shutil.copy(copy / "log.db", service.folder / "log.db")
    service.open()


def test_restored_backup_is_found_by_the_log_itself_and_it_records_nothing_more(
    node: Service, trust: Service, event: MakeEvent
) -> None:
    """An old backup contradicts our own signature at the witness, so that it cannot fork us."""

    def go_on() -> None:
        node.add(event, 5)
        node.exchange.submit(trust, trust.key.verify_key)

    put_back(node, go_on)
    assert node.log.size == 10
    with pytest.raises(LogTampered, match="truncated"):
        node.exchange.submit(trust, trust.key.verify_key)
    with pytest.raises(EvidenceUnavailable, match="nothing is recorded any more"):
        node.add(event, 1)
    assert node.log.entry(3).index == 3  # reading goes on


def test_restored_backup_that_went_on_is_a_fork_for_both(
    node: Service, trust: Service, event: MakeEvent
) -> None:
    """Grown beyond the witnessed size on another history: both sides find out, and say fork."""

    def go_on() -> None:
        node.add(event, 5)
        node.exchange.submit(trust, trust.key.verify_key)

    put_back(node, go_on)
    node.add(event, 9, first=100)
    with pytest.raises(LogTampered, match="forked"):
        node.exchange.submit(trust, trust.key.verify_key)
    assert trust.alarms() == [("node", "forked", 19)]
    [alarm] = trust.log.find(EventKind.WITNESS_ALARM)
    assert (alarm.event.fields["origin"], alarm.event.fields["what"]) == ("node", "forked")


def test_restored_backup_of_a_witnessed_service_is_found_by_the_node(
    node: Service, trust: Service, clock: SetClock, event: MakeEvent
) -> None:
    """The trust service's own log, put back, is called rolled back by whoever cosigned it."""
    trust.add(event, 4)

    def go_on() -> None:
        trust.add(event, 5)
        node.exchange.witness(trust, "trust")

    put_back(trust, go_on)
    clock.now += 60
    with pytest.raises(WitnessRefused):
        node.exchange.witness(trust, "trust")
    assert node.alarms() == [("trust", "rolled-back", 4)]


def test_old_checkpoint_sent_by_anyone_accuses_nobody(
    node: Service, trust: Service, clock: SetClock, event: MakeEvent
) -> None:
    """A late or replayed delivery of a smaller checkpoint is refused, and is no alarm."""
    old = submission_of(node.log, 0)
    node.add(event, 5)
    node.exchange.submit(trust, trust.key.verify_key)
    said_before = clock.now - 30
    clock.now += 60
    for said_at in (None, said_before):
        with pytest.raises(WitnessRefused) as caught:
            trust.witnessing.witness.add_checkpoint(old, said_at=said_at)
        assert caught.value.why is Refusal.CONFLICT
    assert trust.alarms() == []


@pytest.mark.parametrize("sizes", [(5, 5), (5, 8), (8, 5)])
def test_split_view_is_found_by_gossip(
    services: dict[str, Service], tmp_path: Path, event: MakeEvent, sizes: tuple[int, int]
) -> None:
    """A coordinator that shows node and trust service two histories cannot prove them one."""
    node, trust, centre = (services[name] for name in ("node", "trust", "coordinator"))
    centre.add(event, sizes[0])
    node.exchange.witness(centre, "coordinator")
    twin = Service(tmp_path / "twin", "twin", centre.clock, dict(centre.keys))
    with closing(twin):
        twin.close()
        twin.key, twin.name = centre.key, centre.name  # the same key signs another history
        for file in twin.folder.iterdir():
            file.unlink()
        twin.open()
        twin.add(event, sizes[1], first=100)
        twin.exchange.submit(trust, trust.key.verify_key)
        for log in (centre, twin):
            with pytest.raises(WitnessRefused):
                node.exchange.gossip(trust, "coordinator", log)
    assert node.alarms() == [("coordinator", "forked", sizes[1])]


def test_one_history_seen_at_two_sizes_is_no_fork(
    services: dict[str, Service], event: MakeEvent
) -> None:
    """Who saw less and who saw more agree, when the log proves it; absent, it is asked later."""
    node, trust, centre = (services[name] for name in ("node", "trust", "coordinator"))
    with pytest.raises(PeerUnavailable):
        node.exchange.gossip(trust, "coordinator", centre)
    centre.add(event, 4)
    centre.exchange.submit(trust, trust.key.verify_key)
    centre.add(event, 4)
    node.exchange.witness(centre, "coordinator")
    node.exchange.gossip(trust, "coordinator", centre)
    centre.add(event, 4)
    centre.exchange.submit(trust, trust.key.verify_key)
    node.exchange.gossip(trust, "coordinator", centre)
    centre.away = True
    with pytest.raises(PeerUnavailable):
        node.exchange.gossip(trust, "coordinator", centre)
    assert node.alarms() == []


def _rotate(service: Service, *, retire: bool) -> None:
    desk = KeyDesk(service.log, clock=service.clock)
    desk.rotate(overlap_s=0)
    if retire:
        desk.retire()


@pytest.mark.parametrize("told_in_overlap", [True, False])
def test_peers_learn_a_new_key_from_the_log_and_cosign_on(
    services: dict[str, Service], event: MakeEvent, *, told_in_overlap: bool
) -> None:
    """Submitting and fetching go on over a rotation, of the log's key and of the witness's."""
    node, trust, centre = services["node"], services["trust"], services["coordinator"]
    for service in services.values():
        service.add(event, 3)
    first = {name: service.key.verify_key for name, service in services.items()}
    node.exchange.submit(trust, first["trust"])
    centre.exchange.submit(trust, first["trust"])
    node.exchange.witness(trust, "trust")
    for service in services.values():
        _rotate(service, retire=False)
    for last in (False, True) if told_in_overlap else (True,):
        if last:
            for service in services.values():
                KeyDesk(service.log, clock=service.clock).retire()
            node.clock.now += 5
        assert node.exchange.submit(trust, first["trust"]) == node.log.size
        assert node.exchange.witness(trust, "trust") == trust.log.size
        assert node.exchange.witness(centre, "coordinator") == centre.log.size
        assert centre.exchange.submit(trust, first["trust"]) == centre.log.size
        node.exchange.gossip(trust, "coordinator", centre)
    note = centre.witnessing.cosigned()
    assert note is not None
    new = {name: service.log.keys.signers[0].verify_key for name, service in services.items()}
    assert verify_cosignature(note, new["trust"]) > 0
    assert verify_cosignature(note, first["node"]) > 0  # a branch's log is not the centre's to see
    with pytest.raises(SignatureInvalid):
        verify_cosignature(note, first["trust"])
    own = trust.witnessing.cosigned()
    assert own is not None
    assert verify_cosignature(own, new["node"]) > 0
    assert all(service.alarms() == [] for service in services.values())


def test_witness_takes_no_key_that_no_entry_brought(
    services: dict[str, Service], event: MakeEvent
) -> None:
    """Not on first sight, not by the new key's word, and not by a retired one's."""
    node, trust = services["node"], services["trust"]
    node.add(event, 3)
    node.exchange.submit(trust, trust.key.verify_key)
    old, size = node.key, node.log.size
    stranger = SigningKey.generate("node")

    def refused(body: bytes, path: str = "/add-checkpoint") -> int:
        return trust.witnessing.answer("POST", path, "", body).status

    claim = Checkpoint(origin="node", size=size, root=node.log.root())
    for keys in ((stranger,), (stranger, stranger)):
        body = write_submission(size, (), sign_checkpoint(claim, *keys))
        assert refused(body) == Refusal.UNTRUSTED
    by_itself = introduce(size, origin="node", new=stranger, old=stranger, until=0.0, at=0.0)
    line = f"{size} {base64.b64encode(encode_leaf(by_itself, None)).decode()}"
    forged = f"undertone-keys/v1\n{line}\n\n".encode() + body
    assert refused(forged, "/add-keys") == Refusal.UNTRUSTED
    _rotate(node, retire=True)
    node.exchange.submit(trust, trust.key.verify_key)
    assert trust.witnessing.witness.last_size("node") == node.log.size
    last = Checkpoint(origin="node", size=node.log.size, root=node.log.root())
    late = write_submission(node.log.size, (), sign_checkpoint(last, old))
    assert refused(late) == Refusal.UNTRUSTED
    assert refused(submission_of(node.log, node.log.size)) == 200


def test_fork_by_an_old_key_that_rotates_alone_is_named(
    services: dict[str, Service], event: MakeEvent, tmp_path: Path
) -> None:
    """Who stole the old key brings a key of his own in another history: the witness holds both."""
    node, trust = services["node"], services["trust"]
    node.add(event, 3)
    node.exchange.submit(trust, trust.key.verify_key)
    thief = EvidenceLog(tmp_path / "thief.db", node.key, origin="node", clock=node.clock)
    with closing(thief):
        thief.append_many([Draft(event(number + 50)) for number in range(3)])
        desk = KeyDesk(thief, clock=node.clock)
        desk.rotate(overlap_s=0)
        desk.retire()
        body = write_history(thief, 3)
    answer = trust.witnessing.answer("POST", "/add-keys", "", body, said_at=node.clock())
    assert answer.status == Refusal.INCONSISTENT
    assert trust.alarms() == [("node", "forked", 5)]
    assert trust.witnessing.store.keys_of(node.key.verify_key).events == ()


def test_log_put_back_before_its_rotation_is_told_by_its_witness(
    services: dict[str, Service], event: MakeEvent, tmp_path: Path
) -> None:
    """Restored to a time when it did not know its present key, a log still learns that it ended."""
    node, trust = services["node"], services["trust"]
    node.add(event, 3)
    node.log.close()
    shutil.copy(node.folder / "log.db", tmp_path / "old.db")
    node.close()
    node.open()
    node.add(event, 2)
    _rotate(node, retire=True)
    node.exchange.submit(trust, trust.key.verify_key)
    node.close()
    for file in node.folder.glob("*.db*"):
        file.unlink()
    shutil.copy(tmp_path / "old.db", node.folder / "log.db")
    node.open()
    with pytest.raises(LogTampered, match="a witness has our checkpoint at 7"):
        node.exchange.submit(trust, trust.key.verify_key)


def test_history_of_keys_is_followed_offline_from_the_first(
    services: dict[str, Service], event: MakeEvent
) -> None:
    """One file and the first key open a receipt of today; another key or a cut file do not."""
    node = services["node"]
    node.add(event, 3)
    _rotate(node, retire=True)
    file, leaf = write_history(node.log, 0), node.log.entry(1).leaf
    keys = follow_file(file, node.key.verify_key)
    assert open_receipt(node.log.receipt(1), leaf, keys)[0] == 1
    with pytest.raises(SignatureInvalid):
        follow_file(file, SigningKey.generate("node").verify_key)
    lines = file.split(b"\n")
    for cut in (lines[:1] + lines[2:], lines[:2] + lines[3:]):
        with pytest.raises(SignatureInvalid):
            follow_file(b"\n".join(cut), node.key.verify_key)
    index, leaf_, *path = lines[1].split(b" ")
    moved = b" ".join([index, leaf_, path[0][:-4] + b"AAA=", *path[1:]])
    for wrong in (
        b"",
        b"hello",
        file.replace(b"v1", b"v2", 1),
        b"\n".join([lines[0], moved, *lines[2:]]),
    ):
        with pytest.raises(ProofInvalid):
            follow_file(wrong, node.key.verify_key)
