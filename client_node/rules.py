"""The rules a node decides by: those that the trust service's signed feed names, and no others.

1. a bundle that is not here is fetched; 2. its bytes have the digest that the feed signed, and the
officer's seal where the node's settings name that key; 3. it is admitted again, tests and all;
4. it is on disk; 5. all who decide change over together, and it is logged. Where a step fails, the
page of the feed that named it does not vouch: standing ages, and the gate closes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from audit.errors import AuditError
from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.private_files import create_private
from audit.signing import VerifyKey, unseal
from client_node.errors import StandingRejected
from client_node.trust_client import TrustClient
from policies.bundle import Bundle, bundle_from_dict
from policies.canonical import digest_bytes
from policies.current import Current, Ruled
from policies.profile import find_profile
from policies.rollout import Assignment, BundleRef
from policies.shadow import Shadow, report_to_dict


class NodeRules:
    """Holds a node's rules at what the feed last named."""

    def __init__(
        self,
        folder: Path,
        *,
        client: TrustClient,
        officer_key: VerifyKey | None,
        log: EvidenceLog,
        clock: Callable[[], float],
    ) -> None:
        self._folder, self._client, self._officer_key = folder, client, officer_key
        self._log, self._clock = log, clock
        self._assignment = Assignment()
        self._shadow: Shadow | None = None
        self._reported = -1
        self.current = Current(Ruled())

    def adopt(self, assignment: Assignment) -> None:
        """Decide by what was assigned from now on.

        Raises:
            TrustUnavailable: A bundle could not be fetched.
            StandingRejected: Its bytes are not those that were signed.
            PolicyInvalid: It is not admitted here, or a profile is unknown to this version.
        """
        if assignment == self._assignment:
            return
        profiles = [find_profile(name) for name in assignment.profiles]
        enforced = Ruled(profiles, [self._bundle(ref) for ref in assignment.enforced])
        shadow = None
        if assignment.proposed is not None:
            proposed = Ruled(profiles, [self._bundle(ref) for ref in assignment.proposed])
            shadow = Shadow(enforced=enforced, proposed=proposed)
        self._record(assignment, enforced, shadow)
        self.current.change_to(shadow or enforced)  # 5
        self._assignment, self._shadow, self._reported = assignment, shadow, -1

    def report(self) -> None:
        """Tell the trust service what the shadow would change, if there is anything new.

        Raises:
            TrustUnavailable: It was not told; it is with the next.
        """
        shadow = self._shadow
        if shadow is None:
            return
        report = shadow.report()
        if report.decided != self._reported:
            digests = {
                "policy_digest": shadow.policy_digest,
                "proposed_digest": shadow.proposed_digest,
            }
            self._client.shadow_report(digests | report_to_dict(report))
            self._reported = report.decided

    def _bundle(self, ref: BundleRef) -> Bundle:
        path = self._folder / f"{ref.digest}.json"
        data = path.read_bytes() if path.is_file() else None
        kept = data is not None and digest_bytes(data) == ref.digest
        if data is None or not kept:
            data = self._client.bundle(ref.name, ref.version)  # 1
        bundle = self._verified(ref, data)  # 2; 3 is in `Ruled`
        if not kept:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path.unlink(missing_ok=True)
            create_private(path, data)  # 4
        return bundle

    def _verified(self, ref: BundleRef, data: bytes) -> Bundle:
        if digest_bytes(data) != ref.digest:
            raise StandingRejected(f"bundle {ref.name} {ref.version} is not what the feed signed")
        try:
            body = (
                json.loads(data)["body"]
                if self._officer_key is None
                else unseal("bundle", data, self._officer_key)
            )
        except (AuditError, ValueError, KeyError, TypeError) as error:
            raise StandingRejected(
                f"bundle {ref.name} {ref.version} is not sealed by the officer"
            ) from error
        bundle = bundle_from_dict(body["bundle"])
        if (bundle.name, bundle.version) != (ref.name, ref.version):
            raise StandingRejected(f"bundle {ref.name} {ref.version} says it is another")
        return bundle

    def _record(self, assignment: Assignment, enforced: Ruled, shadow: Shadow | None) -> None:
        fields = {
            "policy_digest": enforced.policy_digest,
            "profiles": list(assignment.profiles),
            "bundles": [f"{ref.name}:{ref.version}" for ref in assignment.enforced],
            "proposed_digest": None if shadow is None else shadow.proposed_digest,
        }
        self._log.append(Event(kind=EventKind.RULES_ADOPTED, at=self._clock(), fields=fields))
