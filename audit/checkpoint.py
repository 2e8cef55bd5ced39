"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint), with Ed25519.

A checkpoint is a note of three lines, the log's origin, its size and its root, signed by the
log. Extension lines are refused: nothing of ours writes them, and they cannot be audited.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from audit.errors import CheckpointInvalid, SignatureInvalid
from audit.keys import LogKeys, SigningKey, VerifyKey
from audit.tree import HASH_BYTES

MAX_NOTE_BYTES = 128 * 1024
"""Room for the 16 signatures of up to 5 kB that signed-note asks a verifier to accept."""

DASH = "\N{EM DASH} "
"""What each signature line begins with."""

_KEY_ID_BYTES = 4
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A log at one size: `root` is the 32-byte RFC 6962 root over its first `size` leaves."""

    origin: str
    size: int
    root: bytes


def sign_note(text: str, *keys: SigningKey) -> str:
    """Return the text with a signature of each key.

    Raises:
        CheckpointInvalid: The text does not end with a newline or has control characters.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        raise CheckpointInvalid("a note ends with a newline and has no control characters")
    signed = [(key.name, key.verify_key.key_id + key.sign(text.encode())) for key in keys]
    lines = [f"{DASH}{name} {base64.b64encode(line).decode()}\n" for name, line in signed]
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, key: VerifyKey) -> str:
    """Return the text of a note that this key signed; other keys' signatures are ignored.

    Raises:
        CheckpointInvalid: Not a signed note.
        SignatureInvalid: The key signed nothing here, or signed something else.
    """
    text, found = text_of(note), False
    for name, signature in signatures_of(note):
        # signed-note: ignore unknown keys, even if they share a name or ID with a known one
        if (name, signature[:_KEY_ID_BYTES]) == (key.name, key.key_id):
            key.verify_line(text, signature[_KEY_ID_BYTES:])
            found = True
    if not found:
        raise SignatureInvalid(f"the note has no signature of {key.name} ({key.key_id.hex()})")
    return text


def text_of(note: str) -> str:
    """Return what was signed, up to and with the last line break before the empty line.

    Raises:
        CheckpointInvalid: Not a signed note.
    """
    return _split(note)[0]


def signatures_of(note: str) -> list[tuple[str, bytes]]:
    """Return each signature line's key name, and its key id with the signature; unverified.

    Raises:
        CheckpointInvalid: Not a signed note.
    """
    return [_signature(line) for line in _split(note)[1]]


def unverified_checkpoint(note: str) -> Checkpoint:
    """Return what a note claims, to look its log's key up; nothing is verified.

    Raises:
        CheckpointInvalid: Not a checkpoint.
    """
    return _read(text_of(note))


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey) -> str:
    """Return the checkpoint as a note that each key signed.

    Raises:
        CheckpointInvalid: The origin is empty or has spaces, or size or root are impossible.
    """
    text = f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
    if _read(text) != checkpoint:
        raise CheckpointInvalid("a checkpoint needs an origin of one word, a size and a root")
    return sign_note(text, *keys)


def open_checkpoint(note: str, keys: LogKeys, *, origin: str | None = None) -> Checkpoint:
    """Return the checkpoint that this log's keys signed: every one that signs at its size.

    Args:
        note: The signed note.
        keys: The log's key, or its keys, each for its sizes.
        origin: The log's origin where the caller knows it; None takes the keys' word for it.

    Raises:
        CheckpointInvalid: Not a checkpoint, or one of another log.
        SignatureInvalid: A key that signs at this size did not, or no key does.
    """
    checkpoint = _read(text_of(note))
    signers = keys.keys_at(checkpoint.size)
    for key in signers:
        open_note(note, key)
    if not signers:
        raise SignatureInvalid(f"no key of {keys.name} signs at size {checkpoint.size}")
    for expected in (origin, keys.origin):
        if expected not in {None, checkpoint.origin}:
            raise CheckpointInvalid(f"the checkpoint is of another log than {expected}")
    return checkpoint


def _split(note: str) -> tuple[str, list[str]]:
    """Return a note's text and its signature lines."""
    if len(note.encode()) > MAX_NOTE_BYTES or _CONTROL.search(note) or not note.endswith("\n"):
        raise CheckpointInvalid("not a signed note: too large, cut off, or control characters")
    body, separator, signatures = note.rpartition("\n\n")
    if not separator:
        raise CheckpointInvalid("not a signed note: no empty line before the signatures")
    return body + "\n", signatures.removesuffix("\n").split("\n")


def _signature(line: str) -> tuple[str, bytes]:
    """Return key name and key id with signature of one signature line."""
    name, _, encoded = line.removeprefix(DASH).partition(" ")
    try:
        signature = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise CheckpointInvalid("a signature line of the note is malformed") from error
    if not line.startswith(DASH) or not name or len(signature) <= _KEY_ID_BYTES:
        raise CheckpointInvalid("a signature line of the note is malformed")
    return name, signature


def _read(text: str) -> Checkpoint:
    """Read the three lines of a checkpoint."""
    lines = text.split("\n")
    try:
        origin, size, encoded, rest = lines
        root = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise CheckpointInvalid("a checkpoint has three lines: origin, size, root") from error
    well_formed = (
        origin and not re.search(r"\s|\+", origin) and _NUMBER.fullmatch(size) and not rest
    )
    if not well_formed or len(root) != HASH_BYTES:
        raise CheckpointInvalid("a checkpoint has three lines: origin, size, root")
    return Checkpoint(origin=origin, size=int(size), root=root)
