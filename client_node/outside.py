"""Whom a node speaks with: its trust service, and those who witness logs with it.

Nothing here is opened that the operator's signed policy does not name (promise 10).
"""

from __future__ import annotations

from contextlib import ExitStack

from audit.signing import SigningKey, VerifyKey
from audit.witnessing import Witnessing
from client_node.connections import ConnectionPolicy
from client_node.foundation import Foundation, closing
from client_node.gateway_client import GatewayClient
from client_node.handing_over import HandingOver
from client_node.parts import Parts
from client_node.settings import NodeSettings, parse_key
from client_node.trust_client import TrustClient
from client_node.witnesses import Witnesses
from policies.node_policy import NodePolicy


def coordinator_log_key(settings: NodeSettings) -> VerifyKey:
    """Return the key of the coordinator's log.

    Raises:
        StartRefused: It is not a C2SP verifier key.
    """
    if settings.coordinator_log_key is None:
        return parse_key("coordinator_key", settings.coordinator_key)
    return parse_key("coordinator_log_key", settings.coordinator_log_key)


def trust_client(
    settings: NodeSettings, policy: NodePolicy, key: SigningKey, parts: Parts
) -> TrustClient:
    """Return what carries requests to the trust service; nothing is opened yet.

    Raises:
        ConnectionForbidden: The policy does not name its host.
        TrustUnavailable: The authority's certificate cannot be read.
    """
    return TrustClient(
        settings.trust_url,
        key=key,
        connections=ConnectionPolicy(allowed=policy.connections),
        clock=parts.clock,
        authority=settings.trust_ca,
        transport=parts.transport,
    )


def open_witnesses(
    settings: NodeSettings,
    policy: NodePolicy,
    found: Foundation,
    *,
    client: TrustClient,
    parts: Parts,
    opened: ExitStack,
) -> Witnesses:
    """Join the node to the witnessing of the three logs; without a gateway, of two."""
    trust_key, log_key = parse_key("trust_key", settings.trust_key), coordinator_log_key(settings)
    witnessing = closing(
        opened,
        Witnessing(
            settings.folder / "witness.db",
            found.log,
            clock=parts.clock,
            find_log={key.name: key for key in (trust_key, log_key)}.get,
            find_witness={trust_key.name: trust_key}.get,
        ),
    )
    gateway = None
    if settings.coordinator_url is not None:
        gateway = closing(
            opened,
            GatewayClient(
                settings.coordinator_url,
                connections=ConnectionPolicy(allowed=policy.connections),
                authority=settings.coordinator_ca,
                transport=parts.gateway_transport,
            ),
        )
    return Witnesses(
        witnessing,
        trust=client,
        trust_key=trust_key,
        coordinator=gateway,
        coordinator_log_key=log_key,
        clock=parts.clock,
        period_s=settings.witness_s,
        handing_over=HandingOver(
            log=found.log, client=client, clock=parts.clock, period_s=settings.witness_s
        ),
    )
