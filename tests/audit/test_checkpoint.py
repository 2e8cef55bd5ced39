"""Signed notes, checkpoints and receipts, against published examples and damage."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit.checkpoint import Checkpoint, open_checkpoint, open_note, sign_checkpoint, sign_note
from audit.errors import CheckpointInvalid, KeyInvalid, ProofInvalid, SignatureInvalid
from audit.events import Event
from audit.log import EvidenceLog
from audit.receipt import open_receipt, verify_receipt
from audit.signing import SigningKey, VerifyKey

# The example of golang.org/x/mod/sumdb/note
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT + "\n\N{EM DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of c2sp.org/signed-note
C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_TEXT = "This is an example message.\n"
C2SP_NOTE = (
    C2SP_TEXT + "\n\N{EM DASH} example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
KEY = SigningKey.generate("log.example/1")
CHECKPOINT = Checkpoint(origin="log.example/1", size=7, root=b"r" * 32)


@pytest.mark.parametrize(
    ("note", "key", "text"), [(GO_NOTE, GO_KEY, GO_TEXT), (C2SP_NOTE, C2SP_KEY, C2SP_TEXT)]
)
def test_note_published_elsewhere_is_opened(note: str, key: str, text: str) -> None:
    """A note that another implementation signed verifies here; one letter changed, it does not."""
    assert open_note(note, VerifyKey.parse(key)) == text
    with pytest.raises(SignatureInvalid):
        open_note(note.replace("s", "S", 1), VerifyKey.parse(key))


def test_note_with_sixteen_large_signatures_of_others_is_opened() -> None:
    """signed-note: a verifier accepts at least 16 signatures, which may have 5 kB each."""
    large = base64.b64encode(b"k" * 5000).decode()
    others = "".join(f"\N{EM DASH} other{i} {large}\n" for i in range(16))
    assert open_note(C2SP_NOTE + others, VerifyKey.parse(C2SP_KEY)) == C2SP_TEXT


def test_note_with_an_ml_dsa_line_beside_ours_is_opened() -> None:
    """signed-note: a line of an algorithm we do not know is passed over, even in our own name."""
    text = sign_checkpoint(CHECKPOINT, KEY).rpartition("\n\n")[0] + "\n"
    later = MLDSA44PrivateKey.generate()
    raw = later.public_key().public_bytes_raw()
    key_id = hashlib.sha256(KEY.name.encode() + b"\n\x06" + raw).digest()[:4]
    line = base64.b64encode(key_id + b"\0" * 8 + later.sign(text.encode())).decode()
    both = sign_checkpoint(CHECKPOINT, KEY) + f"\N{EM DASH} {KEY.name} {line}\n"
    assert open_checkpoint(both, KEY.verify_key) == CHECKPOINT
    alone = f"{text}\n\N{EM DASH} {KEY.name} {line}\n"
    with pytest.raises(SignatureInvalid):
        open_checkpoint(alone, KEY.verify_key)
    vkey = f"{KEY.name}+{key_id.hex()}+{base64.b64encode(bytes([6]) + raw).decode()}"
    with pytest.raises(KeyInvalid, match="not Ed25519"):
        VerifyKey.parse(vkey)


def test_checkpoint_returns_what_was_signed_beside_other_signatures() -> None:
    """A checkpoint opens with its log's key, whoever else has cosigned it."""
    note = sign_checkpoint(CHECKPOINT, KEY)
    text = note.rpartition("\n\n")[0] + "\n"
    cosigned = note + sign_note(text, SigningKey.generate("witness")).rpartition("\n\n")[2]
    assert open_checkpoint(cosigned, KEY.verify_key, origin="log.example/1") == CHECKPOINT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("log.example/1\n7", "log.example/2\n7"),
        ("\n7\n", "\n8\n"),
        ("\n7\n", "\n07\n"),
        ("\n7\n", "\n7\n\n"),
        ("\n7\n", "\n-7\n"),
        ("\n\n", "\n"),
        ("\n\n", "\nextension\n\n"),
        ("\N{EM DASH}", "-"),
        ("=\n", "=\r\n"),
    ],
)
def test_checkpoint_with_a_change_is_refused(old: str, new: str) -> None:
    """Nothing in a checkpoint can be changed, and other spellings are not accepted."""
    note = sign_checkpoint(CHECKPOINT, KEY)
    assert old in note
    with pytest.raises((CheckpointInvalid, SignatureInvalid)):
        open_checkpoint(note.replace(old, new, 1), KEY.verify_key)


def test_checkpoint_of_another_key_or_log_is_refused() -> None:
    """The same name with another key, and the same key for another log, are refused."""
    note = sign_checkpoint(CHECKPOINT, KEY)
    with pytest.raises(SignatureInvalid):
        open_checkpoint(note, SigningKey.generate("log.example/1").verify_key)
    with pytest.raises(CheckpointInvalid):
        open_checkpoint(note, KEY.verify_key, origin="log.example/2")


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb"])
def test_checkpoint_with_an_impossible_origin_is_not_signed(origin: str) -> None:
    """What could be read two ways is not signed."""
    with pytest.raises(CheckpointInvalid):
        sign_checkpoint(Checkpoint(origin=origin, size=1, root=b"r" * 32), KEY)


def test_receipt_proves_its_leaf_offline_and_no_other(
    log: EvidenceLog, key: SigningKey, event: Callable[[int], Event]
) -> None:
    """With leaf, receipt and key anyone finds the index; other leaves and keys fail."""
    for number in range(11):
        log.append(event(number))
    for index in range(11):
        leaf, receipt = log.entry(index).leaf, log.receipt(index)
        assert verify_receipt(receipt, leaf, key.verify_key) == index
        assert open_receipt(receipt, leaf, key.verify_key)[1].size == 11
        with pytest.raises(ProofInvalid):
            verify_receipt(receipt, leaf + b" ", key.verify_key)
        with pytest.raises(ProofInvalid):
            verify_receipt(
                receipt.replace(f"index {index}\n", f"index {index + 1}\n"), leaf, key.verify_key
            )
        with pytest.raises(SignatureInvalid):
            verify_receipt(receipt, leaf, SigningKey.generate(key.name).verify_key)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("index 3", "index 03"),
        ("index 3", "index -3"),
        ("\n\n", "\n"),
        ("=\n", "\n"),
    ],
)
def test_receipt_with_another_form_is_refused(
    log: EvidenceLog, key: SigningKey, event: Callable[[int], Event], old: str, new: str
) -> None:
    """A receipt has one form."""
    log.append_many([])
    for number in range(5):
        log.append(event(number))
    receipt = log.receipt(3)
    assert old in receipt
    with pytest.raises(ProofInvalid):
        verify_receipt(receipt.replace(old, new, 1), log.entry(3).leaf, key.verify_key)
