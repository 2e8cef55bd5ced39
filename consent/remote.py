"""A small client of the trust service for the command line: one request, one clear answer."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from consent.errors import RemoteRefused, RemoteUnreachable, SettingsInvalid

TIMEOUT_S = 30.0


def call(
    url: str,
    path: str,
    *,
    ca: Path | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Any:
    """POST the body, or GET where there is none; return the JSON, a PDF's bytes, or else the text.

    Args:
        url: The service's address, with scheme.
        path: The endpoint.
        ca: The certificate authority that vouches for the service; None takes the system's.
        body: What to send.
        headers: More headers.
        transport: Stands in for the network in tests.

    Raises:
        SettingsInvalid: The certificate authority's file cannot be used.
        RemoteUnreachable: Nobody answers, or the certificate does not hold.
        RemoteRefused: The service said no; its own line says why.
    """
    try:
        with httpx.Client(
            verify=_trusting(ca), timeout=TIMEOUT_S, transport=transport, trust_env=False
        ) as client:
            answer = client.request(
                "GET" if body is None else "POST", url + path, content=body, headers=headers
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RemoteUnreachable(
            f"no trust service answers at {url} ({error}): check --url and --ca"
        ) from error
    value = _value(answer)
    if answer.is_error:
        detail = value.get("detail") if isinstance(value, dict) else None
        raise RemoteRefused(f"the trust service refused ({answer.status_code}): {detail or path}")
    return value


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise SettingsInvalid(f"--ca {ca} is not a readable certificate") from error


def _value(answer: httpx.Response) -> Any:
    if answer.headers.get("content-type") == "application/pdf":
        return answer.content
    try:
        return answer.json()
    except json.JSONDecodeError:
        return answer.text
