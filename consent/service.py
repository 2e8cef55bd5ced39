"""The trust service put together: one log, one keystore, one ledger, one gate, one writer."""

from __future__ import annotations

import random
import secrets
from contextlib import ExitStack
from typing import Any

from audit.events import Event, EventKind
from audit.gate import Gate
from audit.hold_book import HoldBook
from audit.intake import Intake
from audit.keys import LogKeys
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.log_keys import FOLDER
from audit.portal.access import Access
from audit.portal.branch_index import BranchIndex
from audit.portal.evidence_desk import EvidenceDesk
from audit.portal.throttle import Throttle
from audit.refusals import Refusals
from audit.rotation import KeyDesk
from audit.signing import VerifyKey
from audit.staff import StaffRole
from audit.witnessing import Witnessing
from consent.acknowledgement import Acknowledgements
from consent.acts import Acts
from consent.answers import Answers
from consent.asking import Asking
from consent.bell import Bell
from consent.branches import Branches, enrolled_branches
from consent.bundles import Bundles, RulesByNode
from consent.callers import Callers
from consent.challenge import Challenges, Sample
from consent.decision_desk import DecisionDesk
from consent.document_desk import DocumentDesk
from consent.documents import Name
from consent.enrolment import Enrolment
from consent.facts_desk import FactsDesk
from consent.feed import AllTasks, Feed
from consent.from_settings import (
    archive_of,
    code_version,
    retention_keeper,
    signing_key,
    verify_keys,
)
from consent.grant_checks import GrantChecks
from consent.ledger import Ledger
from consent.live_system import live_of
from consent.officer import Assessed, Officer
from consent.officer_asks import DeskParts
from consent.recorder import Recorder
from consent.register import OVERSEERS
from consent.register_desk import RegisterDesk
from consent.release_cards import ReleaseCards
from consent.rights_desk import RightsDesk
from consent.search_desk import SearchDesk, recorded_in
from consent.settings import TrustSettings
from consent.tables import NodeRow
from consent.tokens import Randomness
from policies.clock import Clock
from policies.engine import PolicyEngine

NAME = "undertone-trust"


def _sample(population: range, size: int) -> list[int]:
    return random.SystemRandom().sample(population, size)


class TrustService:
    """Owner of everything the service keeps. `close` it, or another start is refused."""

    def __init__(
        self,
        settings: TrustSettings,
        *,
        clock: Clock,
        randomness: Randomness = secrets.token_bytes,
        sample: Sample = _sample,
    ) -> None:
        """Open or make log, keystore and ledger, and finish erasures that a crash cut short.

        Raises:
            SettingsInvalid: A key or token that the settings name cannot be used.
            EvidenceUnavailable, KeystoreUnavailable, LedgerUnavailable: A store cannot be
                opened, or another process owns it.
            LogTampered: The log does not end as it was last signed.
        """
        self.settings = settings
        self._clock = clock
        self.version = code_version()
        self.key = signing_key(settings)
        (officer_key,) = verify_keys("officer_key", [settings.officer_key])
        admin_token = settings.admin_token()
        with ExitStack() as opening:
            self._open_stores(opening)
            self._open_rules(officer_key)
            self._open_governance(officer_key, randomness)
            self._open_people(randomness)
            self._open_nodes(sample, opening)
            self._open_access(opening, admin_token)
            self._open_witness(opening)
            self.callers = Callers(
                enrolment=self.enrolment,
                acts=self.acts,
                witnessing=self.witnessing,
                officer_key=officer_key,
                clock=self._clock,
            )
            self.acts.finish_erasures()
            self.finish_held_erasures()
            self.acts.invalidate_uninformed()
            self._log_start(opening)
            self._stores = opening.pop_all()

    def _open_stores(self, opening: ExitStack) -> None:
        folder, settings = self.settings.folder, self.settings
        self.keystore = Keystore(folder / "keys", clock=self._clock)
        opening.callback(self.keystore.close)
        self.log = EvidenceLog(
            settings.log_url or folder / "log.db",
            self.key,
            origin=settings.origin or self.key.name,
            clock=self._clock,
            keystore=self.keystore,
            archive=archive_of(self.settings, self.key.verify_key),
            key_folder=folder / FOLDER,
        )
        opening.callback(self.log.close)
        self.key_desk = KeyDesk(self.log, clock=self._clock)
        self.holds = HoldBook(self.log, clock=self._clock, keystore=self.keystore)
        self.retention = retention_keeper(
            settings,
            log=self.log,
            holds=self.holds,
            keystore=self.keystore,
            archive=archive_of(self.settings, self.key.verify_key),
            clock=self._clock,
        )
        opening.callback(self.retention.close)
        self.evidence = EvidenceDesk(
            folder=folder,
            log=self.log,
            log_file=None if settings.log_url else folder / "log.db",
            witnessing=lambda: self.witnessing,
            clock=self._clock,
            archive=lambda: archive_of(self.settings, self.key.verify_key),
        )
        opening.callback(self.evidence.close)
        self.refusals = Refusals(self.log, clock=self._clock)
        opening.callback(self.refusals.close)
        self.ledger = Ledger(settings.ledger_url())
        opening.callback(self.ledger.close)

    def _open_rules(self, officer_key: VerifyKey) -> None:
        """Put together what decides: the rules of each node, and the one gate."""
        self.bell = Bell()
        self.engine = PolicyEngine.load()
        self.bundles = Bundles(
            ledger=self.ledger, log=self.log, clock=self._clock, bell=self.bell, key=officer_key
        )
        self._rules = RulesByNode(self.bundles, self.engine.policy_digest)
        self.gate = Gate(
            engine=self._rules,
            log=self.log,
            clock=self._clock,
            batch_key=self.key.derive("batch-commitments"),
        )

    def _open_governance(self, officer_key: VerifyKey, randomness: Randomness) -> None:
        """Put together what the organisation answers for: nodes, registers, decrees, documents."""
        self.enrolment = Enrolment(ledger=self.ledger, log=self.log, clock=self._clock)
        self.registers = RegisterDesk(
            ledger=self.ledger,
            log=self.log,
            clock=self._clock,
            randomness=randomness,
            account_of=lambda name: self.access.accounts.how_stands(name, *OVERSEERS),
        )
        self.officer = Officer(
            ledger=self.ledger,
            log=self.log,
            clock=self._clock,
            bell=self.bell,
            key=officer_key,
            standing_max_age_s=self.settings.standing_max_age_s,
            registers=self.registers,
            assessed=self._assessed,
        )
        self.documents = DocumentDesk(self.registers, lambda: live_of(self))
        self.cards = ReleaseCards(
            self.registers, coordinator=self.settings.coordinator, keys_of=self._keys_of
        )

    def _open_people(self, randomness: Randomness) -> None:
        """Put together what people do: choose, answer, ask for their rights."""
        recorder = Recorder(
            ledger=self.ledger,
            log=self.log,
            officer=self.officer,
            bell=self.bell,
            clock=self._clock,
            randomness=randomness,
            settings=self.settings,
        )
        self.acts = Acts(
            ledger=self.ledger,
            log=self.log,
            keystore=self.keystore,
            officer=self.officer,
            bell=self.bell,
            clock=self._clock,
            recorder=recorder,
            holds=self.holds,
            checks=GrantChecks(
                ledger=self.ledger,
                officer=self.officer,
                clock=self._clock,
                takes_uncaptured=self.settings.takes_uncaptured,
            ),
        )
        self.answers = Answers(
            acts=self.acts, ledger=self.ledger, officer=self.officer, clock=self._clock
        )
        self.asking = Asking(
            acts=self.acts,
            ledger=self.ledger,
            officer=self.officer,
            gate=self.gate,
            rules=self._rules,
            clock=self._clock,
            randomness=randomness,
        )
        self.rights = RightsDesk(
            ledger=self.ledger,
            log=self.log,
            keystore=self.keystore,
            acts=self.acts,
            clock=self._clock,
            randomness=randomness,
            keys_of=self._keys_of,
        )

    def _open_nodes(self, sample: Sample, opening: ExitStack) -> None:
        """Put together what nodes hear, say and ask."""
        self.branches = Branches(
            BranchIndex(self.settings.folder / "branches.db"),
            witnessed=lambda: self.witnessing.store,
            nodes=self._branches,
            retention=self.retention.retention.policy,
            holds=self.holds.in_force,
            clock=self._clock,
        )
        opening.callback(self.branches.index.close)
        challenges = Challenges(
            ledger=self.ledger,
            log=self.log,
            officer=self.officer,
            rules_during=self.bundles.rules_during,
            clock=self._clock,
            sample=sample,
            size=self.settings.challenge_size,
            period_s=self.settings.challenge_period_s,
        )
        parts = DeskParts(
            log=self.log,
            index=self.branches.index,
            bell=self.bell,
            keys_of=self._keys_of,
            clock=self._clock,
        )
        self.facts = FactsDesk(
            parts,
            gate=self.gate,
            standing=lambda found, subject: self.feed.standing(
                self.enrolment.company_of(found.node), subject
            ),
            governance=self.officer.governance,
        )
        self.searches = SearchDesk(
            parts,
            recorded=lambda subject: recorded_in(self.ledger, subject, now=self._clock()),
            branches=self._branches,
        )
        self.feed = Feed(
            ledger=self.ledger,
            officer=self.officer,
            bundles=self.bundles,
            challenges=challenges,
            key=self.key,
            clock=self._clock,
            most=self.settings.most_changes,
            requests=AllTasks(self.rights.nodes, self.facts, self.searches),
            holds=self.holds,
        )
        self.acknowledgements = Acknowledgements(
            ledger=self.ledger,
            log=self.log,
            challenges=challenges,
            clock=self._clock,
            keys_of=self._keys_of,
        )
        self.decisions = DecisionDesk(
            gate=self.gate,
            log=self.log,
            feed=self.feed,
            officer=self.officer,
            bundles=self.bundles,
            clock=self._clock,
        )

    def _branches(self) -> list[NodeRow]:
        return enrolled_branches(self.ledger, self.settings.coordinator)

    def finish_held_erasures(self) -> None:
        """Erase whoever asked for it under a hold that is lifted; 1. all, 2. then forget whom."""
        for subject in sorted(self.holds.released()):
            self.acts.erase_released(subject)  # 1
            self.rights.own.resume(subject)
        self.holds.settle()  # 2

    def _assessed(self) -> Assessed | None:
        """Return who stands behind the impact assessment; None where nobody is appointed yet."""
        if not self.access.accounts.has_any(StaffRole.OFFICER, StaffRole.DPO):
            return None
        by, purposes = self.documents.approvers(Name.DPIA), self.settings.declared.purposes
        return Assessed(by=by, purposes=frozenset(purposes))

    def _keys_of(self, first: VerifyKey) -> LogKeys:
        """Return the keys of the log of this first key, as its witness here learned them."""
        return self.witnessing.store.keys_of(first)

    def _open_access(self, opening: ExitStack, admin_token: str) -> None:
        """Let staff sign in; the admin token stands for an operator until there is one."""
        self.access = Access(
            folder=self.settings.folder,
            log=self.log,
            key=self.key,
            clock=self._clock,
            bootstrap_token=admin_token,
            bootstrap_roles=frozenset({StaffRole.OPERATOR}),
            settings=self.settings.portal,
        )
        opening.callback(self.access.close)
        self.access.start()
        self.link_throttle = Throttle(
            self.access.ledger, key=self.key.derive("link-throttle"), clock=self._clock
        )

    def _open_witness(self, opening: ExitStack) -> None:
        """Witness the nodes' and the coordinator's logs; nodes and auditors witness ours."""
        auditors = {key.name: key for key in verify_keys("auditors", self.settings.auditors)}
        self.witnessing = Witnessing(
            self.settings.folder / "witness.db",
            self.log,
            clock=self._clock,
            find_log=self.enrolment.find_log,
            find_witness=lambda name: self.enrolment.find_witness(name) or auditors.get(name),
        )
        opening.callback(self.witnessing.close)

    def _log_start(self, opening: ExitStack) -> None:
        """Record the start, then let other processes of this machine submit."""
        fields = {
            "service": NAME,
            "version": self.version,
            "policy_digest": self.engine.policy_digest,
            "key": str(self.key.verify_key),
        }
        self.log.append(Event(kind=EventKind.SERVICE_STARTED, at=self._clock(), fields=fields))
        socket = self.settings.folder / "evidence.sock"
        opening.callback(Intake(self.log, socket, refusals=self.refusals).close)

    def now(self) -> float:
        """Return the Unix second by the service's clock."""
        return self._clock()

    def close(self) -> None:
        """Finish what was begun and close all stores; more than once does nothing."""
        self._stores.close()

    def health(self) -> dict[str, Any]:
        """Return `status` (ok, stopped or alarm) and the counts behind it.

        Raises:
            LedgerUnavailable: The ledger did not answer.
        """
        alarms = self.ledger.alarms() + len(self.witnessing.alarms())
        governance = self.officer.governance()
        status = "alarm" if alarms else "stopped" if governance.stopped else "ok"
        return {
            "status": status,
            "alarms": alarms,
            "stopped": governance.stopped,
            "nodes": self.enrolment.count(),
            "log_size": self.log.size,
            "policy_digest": self.engine.policy_digest,
        }
