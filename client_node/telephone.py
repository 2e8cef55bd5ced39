"""A digit pressed in a telephone menu, as the telephone system itself signs it.

Body of the envelope (kind `telephone-event`), sealed by a key that the node's settings enrol:

    event           its id at the telephone system; counts once
    at              Unix second of the digit
    customer        who called, by the id that the branch knows them by
    call            the call's reference, by which the company finds the record again
    script          which menu was played, by its version
    pressed         the digit
    shown           {language, text_digest, layer}: what of the notice the menu read out
    consent         {purposes, modalities, notice_version, valid_days, ...}: what the digit is about

Taken in this order: 1. the signature is an enrolled telephone system's; 2. it is of these minutes
and was not taken before; 3. the digit is the script's own yes, or else a no; 4. recorded at the
trust service, with the digest of what was signed as the proof, which counts once there too; 5.
remembered. Without an enrolled key no consent by telephone menu is taken at all.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, delete

from audit.errors import AuditError
from audit.signing import VerifyKey, envelope_key_name, unseal
from client_node.errors import TelephoneEventInvalid, TelephoneEventReplayed, VaultError
from client_node.people import People
from client_node.tables import TelephoneEventRow, open_store
from client_node.wire import PressedIn, pressed_in
from consent.capture import Channel, Sign
from policies.canonical import digest
from policies.clock import Clock

KIND = "telephone-event"
FRESH_S = 900
AHEAD_S = 60


class Telephone:
    """Takes the events of the telephone systems that are enrolled; thread-safe."""

    def __init__(
        self,
        path: Path,
        *,
        keys: Mapping[str, VerifyKey],
        yes: Mapping[str, str],
        people: People,
        clock: Clock,
    ) -> None:
        """Open or make the memory of events.

        Args:
            path: The file.
            keys: The telephone systems' keys, by name.
            yes: The digit that says yes, by script.
            people: Carries what was chosen.
            clock: Unix seconds.

        Raises:
            VaultError: The file cannot be opened.
        """
        self._keys, self._yes, self._people, self._clock = keys, yes, people, clock
        self._lock = threading.Lock()
        try:
            self._engine = open_store(path, [TelephoneEventRow])
        except (SQLAlchemyError, OSError) as error:
            raise VaultError(f"telephone events {path.name}: {type(error).__name__}") from error

    def take(self, envelope: bytes) -> dict[str, Any]:
        """Record what a digit says; return the trust service's receipt.

        Raises:
            TelephoneEventInvalid: No enrolled system signed it, or it is not of these minutes, or
                of no known script.
            TelephoneEventReplayed: It was taken before.
            TrustUnavailable: It was not recorded; send it again.
        """
        pressed, proof = self._verified(envelope)  # 1
        with self._lock:
            self._check_new(pressed)  # 2
            taken = self._record(pressed, proof)  # 3, 4
            self._remember(pressed)  # 5
        return taken

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _verified(self, envelope: bytes) -> tuple[PressedIn, str]:
        try:
            key = self._keys[envelope_key_name(envelope)]
            body = unseal(KIND, envelope, key)
            return pressed_in(body), digest(body)
        except (AuditError, KeyError) as error:
            raise TelephoneEventInvalid(
                "no enrolled telephone system signed this event: enrol its key in telephone_keys"
            ) from error

    def _check_new(self, pressed: PressedIn) -> None:
        now = self._clock()
        if not now - FRESH_S <= pressed.at <= now + AHEAD_S:
            raise TelephoneEventInvalid(
                f"the telephone event is not of the last {FRESH_S} seconds: compare the clocks"
            )
        if pressed.script not in self._yes:
            raise TelephoneEventInvalid("no digit is set for that script: see telephone_scripts")
        with Session(self._engine) as session:
            if session.get(TelephoneEventRow, pressed.event) is not None:
                raise TelephoneEventReplayed("this telephone event was taken before")

    def _record(self, pressed: PressedIn, proof: str) -> dict[str, Any]:
        if pressed.pressed != self._yes[pressed.script]:
            return self._people.refuse(pressed.customer, sorted(pressed.consent.purposes))
        grant = pressed.consent.grant() | {
            "act": Sign.PRESSED_DIGIT.value,
            "informed": True,
            "shown": pressed.shown.model_dump(mode="json") | {"channel": Channel.IVR.value},
            "capture": {"evidence": proof, "reference": pressed.call, "script": pressed.script},
        }
        return self._people.consent(pressed.customer, grant)

    def _remember(self, pressed: PressedIn) -> None:
        over = self._clock() - 2 * FRESH_S
        try:
            with Session(self._engine) as session:
                session.exec(delete(TelephoneEventRow).where(col(TelephoneEventRow.at) < over))
                session.merge(TelephoneEventRow(event=pressed.event, at=pressed.at))
                session.commit()
        except SQLAlchemyError as error:
            raise VaultError(f"telephone events: {type(error).__name__}") from error
