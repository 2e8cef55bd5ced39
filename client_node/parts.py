"""What a node needs from outside its folder: clock, ids, models, ways to carry requests."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from client_node.redaction import Redactor, Redacts
from models.encoder import Encoder
from models.language import Languages
from policies.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a node needs from outside its folder; tests give small ones."""

    clock: Clock = time.time
    new_id: Callable[[], str] = field(default=lambda: secrets.token_hex(16))
    encoder: Encoder | None = None
    redactor: Redacts | None = None
    transport: httpx.BaseTransport | None = None
    gateway_transport: httpx.BaseTransport | None = None
    progress: Callable[[int, int], None] = lambda *_: None


def load_models(
    encoder_path: Path | None, parts: Parts, *, graphs: Path | None = None
) -> tuple[Encoder, Redacts]:
    """Load encoder and redactor side by side: the first answer waits for both."""
    with ThreadPoolExecutor(2) as beside:
        beside.submit(Languages.load)  # the redactor's too, which finds it there
        loading = beside.submit(lambda: parts.encoder or Encoder.load(encoder_path, graphs=graphs))
        redactor = parts.redactor or Redactor.load(encoder_path, graphs=graphs)
        return loading.result(), redactor
