"""The company's pseudonym keys at this node, and what a change of them may not do silently.

A start is refused where a key that was used here before is gone, because the people who are known
under it alone would be strangers, their objections forgotten; and where the key that decides who
is held out is gone, because people would change sides, and pay on both (`client_node.held_out`).
Both are remembered by the keys' ids, in one small file of the node's folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from client_node.errors import StartRefused
from client_node.pseudonym import KEY_BYTES, key_id
from client_node.settings import NodeSettings, read_secret

RECORD = "pseudonym-keys.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """The ids of the keys that were ever used here, and of the one that holds people out."""

    keys: frozenset[str] = frozenset()
    held_out: str

    @classmethod
    def read(cls, path: Path) -> _Record | None:
        """Return what an earlier start wrote; None before the first."""
        try:
            value = json.loads(path.read_bytes())
            return cls(keys=frozenset(value["keys"]), held_out=str(value["held_out"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StartRefused(
                f"{path}: not what this node wrote: restore it from a backup"
            ) from error

    def write(self, path: Path) -> None:
        """Let it take the place of what was there."""
        part = path.with_name(f".{path.name}.new")
        text = json.dumps({"keys": sorted(self.keys), "held_out": self.held_out})
        try:
            part.write_text(text, encoding="ascii")
            part.replace(path)
        except OSError as error:
            raise StartRefused(f"{path} cannot be written ({type(error).__name__})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudonymKeys:
    """The keys: the first makes pseudonyms, all are recognised, `splits` may hold people out."""

    keys: tuple[bytes, ...] = field(repr=False)
    splits: tuple[bytes, ...] = field(repr=False)
    retired: frozenset[str] = frozenset()

    @classmethod
    def load(cls, settings: NodeSettings) -> PseudonymKeys:
        """Read the keys that the settings name.

        Raises:
            StartRefused: One is missing, short, twice there, or others may read it.
        """
        files = (settings.pseudonym_key_file, *settings.other_pseudonym_key_files)
        keys = tuple(map(load_key, files))
        if len(set(keys)) < len(keys):
            raise StartRefused("other_pseudonym_key_files: a key is there twice: name it once")
        own = settings.held_out_key_file
        return cls(
            keys=keys,
            splits=keys if own is None else (load_key(own), *keys),
            retired=frozenset(settings.retired_pseudonym_keys),
        )

    def settle(self, folder: Path, *, holds_out: bool) -> bytes:
        """Compare with what was used here before; return the key that holds people out.

        Raises:
            StartRefused: One that was used is gone and was not retired, or people would change
                sides, or the record cannot be read or written.
        """
        known, ids = _Record.read(folder / RECORD), [key_id(key) for key in self.keys]
        before = _Record(held_out=self._first_split(holds_out)) if known is None else known
        if missing := before.keys - set(ids) - self.retired:
            raise StartRefused(
                f"pseudonym key {min(missing)} was used here and is not in the settings: people "
                "known under it would be strangers, their objections forgotten: add its file to "
                "other_pseudonym_key_files; or, once `pseudonym census` finds nobody under it, "
                "its name to retired_pseudonym_keys"
            )
        by_id = {key_id(key): key for key in self.splits}
        if before.held_out not in by_id and holds_out:
            raise StartRefused(
                f"pseudonym key {before.held_out} decides who is held out here and is not in the "
                "settings: people would be measured who were trained on: name its file as "
                "held_out_key_file"
            )
        now = _Record(keys=before.keys | set(ids), held_out=before.held_out)
        if now != known:
            now.write(folder / RECORD)
        return by_id.get(before.held_out, self.splits[0])

    def _first_split(self, holds_out: bool) -> str:  # noqa: FBT001 (as the caller has it)
        if holds_out and self.splits == self.keys and len(self.keys) > 1:
            raise StartRefused(
                "held_out_key_file: name the pseudonym key with which this node began, because it "
                "decides who is held out"
            )
        return key_id(self.splits[0])


def load_key(path: Path) -> bytes:
    """Return a company's pseudonym key.

    Raises:
        StartRefused: It is missing or short, or others may read it.
    """
    key = read_secret(path)
    if len(key) < KEY_BYTES:
        raise StartRefused(f"pseudonym key {path}: expected {KEY_BYTES} bytes or more")
    return key
