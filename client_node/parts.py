"""What a node needs from outside its folder: clock, ids, models, ways to carry requests."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from client_node.loading import Loading, begin_loading
from client_node.redaction import Redactor, Redacts
from models.encoder import Encoder
from policies.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a node needs from outside its folder; tests give small ones."""

    clock: Clock = time.time
    new_id: Callable[[], str] = field(default=lambda: secrets.token_hex(16))
    encoder: Encoder | None = None
    redactor: Redacts | None = None
    loading: Loading | None = None
    transport: httpx.BaseTransport | None = None
    gateway_transport: httpx.BaseTransport | None = None
    progress: Callable[[int, int], None] = lambda *_: None


def load_models(
    encoder_path: Path | None, parts: Parts, *, graphs: Path | None = None
) -> tuple[Encoder, Redacts]:
    """Return the models that the parts name; what they do not, is loaded, or on its way.

    Raises:
        EncoderRejected: The encoder or the token classifier is not the published one.
        RedactionUnavailable: Presidio cannot be set up.
    """
    if parts.encoder is not None and parts.redactor is not None:
        return parts.encoder, parts.redactor
    loading = parts.loading or begin_loading(encoder_path, graphs=graphs)
    redactor = parts.redactor or Redactor.joined(
        loading.classifier.result, loading.languages.result
    )
    return parts.encoder or loading.encoder.result(), redactor
