"""The keys that a log signs with, held in files, each used from the entry that brings it.

The first key is the service's own and lies where its settings say. Each later one is a file of
the same form and mode in the log's key folder, named by its key id and written before the entry
that introduces it, so that a crash between the two leaves a key that nothing speaks of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audit.errors import EvidenceUnavailable, KeyInvalid
from audit.key_chain import KeyChain
from audit.keys import SigningKey, VerifyKey

FOLDER = "log-keys"
SUFFIX = ".signing-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """A log's chain, and the private half of every key that still signs."""

    chain: KeyChain
    folder: Path | None
    signers: tuple[SigningKey, ...]

    @classmethod
    def follow(
        cls, first: SigningKey, folder: Path | None, events: Iterable[tuple[int, bytes]]
    ) -> SigningKeys:
        """Return the keys after the log's entries that change them.

        Raises:
            KeyChangeInvalid: An entry does not hold.
            EvidenceUnavailable: A key that signs is not in the folder.
        """
        chain = KeyChain.follow(first.verify_key, events)
        begun = cls(chain=chain, folder=folder, signers=(first,))
        return begun._holding(chain)

    def after(self, events: Iterable[tuple[int, bytes]]) -> SigningKeys:
        """Return the keys after more entries that change them.

        Raises:
            KeyChangeInvalid, EvidenceUnavailable: As in `follow`.
        """
        chain = self.chain
        for index, leaf in events:
            chain = chain.after(index, leaf)
        return self if chain is self.chain else self._holding(chain)

    def path_of(self, key: VerifyKey) -> Path | None:
        """Return where a later key's file lies."""
        return None if self.folder is None else self.folder / (key.key_id.hex() + SUFFIX)

    def _holding(self, chain: KeyChain) -> SigningKeys:
        held = {key.verify_key: key for key in self.signers}
        signers = tuple(held.get(t.key) or self._load(t.key) for t in chain.in_force)
        return SigningKeys(chain=chain, folder=self.folder, signers=signers)

    def _load(self, wanted: VerifyKey) -> SigningKey:
        path = self.path_of(wanted)
        try:
            if path is not None and (found := SigningKey.load(path)).verify_key == wanted:
                return found
        except KeyInvalid as error:
            raise _missing(wanted, str(error)) from error
        raise _missing(wanted, "another key lies there")


def _missing(key: VerifyKey, why: str) -> EvidenceUnavailable:
    return EvidenceUnavailable(
        f"the log signs with the key {key.key_id.hex()}, which cannot be used ({why}): put its "
        f"file back into {FOLDER}"
    )
