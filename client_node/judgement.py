"""What a node decides and reads by: rules, gate, the release in force, and its own head.

The gate's decisions rest on the standing envelope, the release and the local head of that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from audit.events import Value
from audit.gate import Gate
from audit.signing import SigningKey
from client_node.foundation import Foundation, closing
from client_node.local_head import LocalHeadFile
from client_node.outside import coordinator_log_key
from client_node.personal import Personalisation
from client_node.recalibration import Recalibration
from client_node.releases import Releases
from client_node.rules import NodeRules
from client_node.settings import NodeSettings, parse_key
from client_node.trust_client import TrustClient
from client_node.witnesses import Witnesses
from models.encoder import Encoder
from policies.node_policy import NodePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Rules, gate and what reads."""

    rules: NodeRules
    gate: Gate
    releases: Releases
    personalisation: Personalisation
    recalibration: Recalibration


def open_judgement(
    settings: NodeSettings,
    policy: NodePolicy,
    found: Foundation,
    *,
    key: SigningKey,
    encoder: Encoder,
    client: TrustClient,
    witnesses: Witnesses,
    opened: ExitStack,
) -> Judgement:
    """Open the releases and put the gate together, under the rules that were heard last."""
    folder, log, clock = settings.folder, found.log, found.clock
    releases = closing(
        opened,
        Releases(
            folder / "releases.db",
            coordinator_key=parse_key("coordinator_key", settings.coordinator_key),
            log_key=coordinator_log_key(settings),
            encoder_digest=encoder.digest,
            key=key,
            log=log,
            clock=clock,
            keys_of=witnesses.witnessing.store.keys_of,
        ),
    )
    rules = NodeRules(
        folder / "rules",
        client=client,
        officer_key=(
            None if settings.officer_key is None else parse_key("officer_key", settings.officer_key)
        ),
        log=log,
        clock=clock,
    )
    rules.adopt(found.cache.rules)

    def basis() -> Mapping[str, Value]:
        current = releases.current
        return {
            "envelope_digest": found.cache.envelope_digest,
            "release_digest": None if current is None else current.digest,
            **personalisation.basis(),
        }

    gate = Gate(
        engine=rules.current, log=log, clock=clock, batch_key=key.derive("batch"), basis=basis
    )
    personalisation = closing(
        opened,
        Personalisation(
            on=settings.personal,
            node=policy.node,
            gate=gate,
            engine=rules.current,
            cache=found.cache,
            vault=found.vault,
            releases=releases,
            file=LocalHeadFile(folder / "local-head.sealed", found.keystore),
            log=log,
            clock=clock,
        ),
    )
    recalibration = Recalibration(
        node=policy.node,
        gate=gate,
        cache=found.cache,
        vault=found.vault,
        releases=releases,
        clock=clock,
    )
    return Judgement(
        rules=rules,
        gate=gate,
        releases=releases,
        personalisation=personalisation,
        recalibration=recalibration,
    )
