"""What must hold before a node opens anything: secrets, policy, certificate, models.

From step 2 on nothing but the policy's connections can be opened. The steps are those of
`client_node.service`, which goes on from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.pki import check_certificate
from audit.signing import SigningKey
from client_node.access import ApiKeys
from client_node.outside import trust_client
from client_node.parts import Parts, load_models
from client_node.pseudonym_keys import PseudonymKeys
from client_node.redaction import Redacts
from client_node.settings import (
    NodeSettings,
    check_private,
    load_policy,
    load_signing_key,
)
from client_node.trust_client import TrustClient
from models.encoder import Encoder
from policies.node_policy import NodePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What held."""

    settings: NodeSettings
    policy: NodePolicy
    keys: ApiKeys
    key: SigningKey = field(repr=False)
    pseudonym_keys: PseudonymKeys
    encoder: Encoder
    redactor: Redacts
    client: TrustClient


def check(settings: NodeSettings, parts: Parts) -> Checked:
    """Check in this order, and load the models.

    Raises:
        StartRefused, NodeError, AuditError, ModelError: What does not hold.
    """
    key = load_signing_key(settings.signing_key)  # 1
    keys = ApiKeys.load(settings.api_keys_file, clock=parts.clock)
    pseudonym_keys = PseudonymKeys.load(settings)
    policy = load_policy(settings)  # 2
    if settings.certificate is not None:  # 3
        check_certificate(settings.certificate, parts.clock())
        check_private(settings.private_key or settings.certificate)
    encoder, redactor = load_models(settings.encoder_path, parts, graphs=settings.graphs)  # 4, 5
    return Checked(
        settings=settings,
        policy=policy,
        keys=keys,
        key=key,
        pseudonym_keys=pseudonym_keys,
        encoder=encoder,
        redactor=redactor,
        client=trust_client(settings, policy, key, parts),
    )
