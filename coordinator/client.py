"""Talk to a coordinator from a notebook, a script or our own command line.

    with CoordinatorClient("http://127.0.0.1:8790", token=token) as centre:
        plan = centre.plan(draft)
        run = centre.start_run(plan["digest"], approved_by="jo")
        for seen in centre.watch(run["run"]):
            print(seen["state"], len(seen["rounds"]))
        centre.publish_release(run=run["run"], approved_by="jo")

Every call returns the API's JSON values and raises ServiceUnavailable with its one line.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
import numpy.typing as npt

from coordinator.errors import ServiceUnavailable
from models.update import weights_from_dict

PLAN_TIMEOUT_S = 150.0
"""Costing a plan takes seconds, not milliseconds: three accountants run."""


class CoordinatorClient:
    """A coordinator's API as methods."""

    def __init__(
        self,
        url: str,
        *,
        token: str,
        ca: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open the connection; `ca` (PEM) vouches for a coordinator that speaks TLS.

        Raises:
            ServiceUnavailable: The authority cannot be read.
        """
        self._http = httpx.Client(
            verify=_trusting(ca),
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30.0,
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def healthy(self) -> bool:
        """Return whether the service answers."""
        try:
            return self._http.get("/healthz", timeout=2.0).is_success
        except httpx.HTTPError:
            return False

    def governed(self) -> bool:
        """Return whether the coordinator has heard what the organisation approved."""
        try:
            return bool(self._http.get("/healthz", timeout=2.0).json()["governed"])
        except (httpx.HTTPError, ValueError, KeyError):
            return False

    def log_keys(self, path: str, body: bytes | None = None) -> Any:
        """Read or change the keys that sign the log (`audit.key_api`): JSON, or else text."""
        method, content = "GET" if body is None else "POST", {"content-type": "application/json"}
        try:
            answer = self._http.request(method, path, content=body, headers=content)
            if answer.is_error:
                raise ServiceUnavailable(f"refused ({answer.status_code}): {_detail(answer)}")
            is_json = answer.headers.get("content-type", "").startswith("application/json")
            return answer.json() if is_json else answer.text
        except (httpx.HTTPError, ValueError) as error:
            raise _silent(method, path, error) from error

    def plan(self, draft: Mapping[str, Any]) -> dict[str, Any]:
        """Check a plan and return its digest, cost by three accountants, and k-node table."""
        return self._call("POST", "/v1/plans", json=dict(draft), timeout=PLAN_TIMEOUT_S)

    def register_node(self, node: str, *, vkey: str, supernode_public_key: str) -> dict[str, Any]:
        """Admit a node by its vkey and its SuperNode's public key (OpenSSH text)."""
        body = {"node": node, "vkey": vkey, "supernode_public_key": supernode_public_key}
        return self._call("POST", "/v1/nodes", json=body)

    def nodes(self) -> list[dict[str, Any]]:
        """Return nodes, whether each is online, and whether it has the newest release."""
        return list(self._call("GET", "/v1/nodes")["nodes"])

    def start_run(
        self, plan_digest: str, *, approved_by: str, release: str | None = None
    ) -> dict[str, Any]:
        """Start a run at a release, or the newest, and return it; it goes on by itself."""
        body = {"plan_digest": plan_digest, "approved_by": approved_by, "release": release}
        return self._call("POST", "/v1/runs", json=body)

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs, oldest first."""
        return list(self._call("GET", "/v1/runs")["runs"])

    def run(self, run: str) -> dict[str, Any]:
        """Return a run's state, rounds and bytes."""
        return self._call("GET", f"/v1/runs/{run}")

    def watch(
        self, run: str, *, every_s: float = 0.5, pause: Callable[[float], None] = time.sleep
    ) -> Iterator[dict[str, Any]]:
        """Yield the run again and again until its state is final, that one included."""
        while True:
            seen = self.run(run)
            yield seen
            if seen["final"]:
                return
            pause(every_s)

    def stop_run(self, run: str) -> dict[str, Any]:
        """Stop a run between or within rounds."""
        return self._call("POST", f"/v1/runs/{run}/stop", timeout=60.0)

    def weights(self, run: str, round_number: int) -> npt.NDArray[np.float32]:
        """Return the aggregate `(feature, label)` of a round."""
        value = self._call("GET", f"/v1/runs/{run}/weights", params={"round": round_number})
        return weights_from_dict({"shape": value["shape"], "float32": value["float32"]})

    def publish_release(
        self,
        *,
        approved_by: str,
        run: str | None = None,
        plan_digest: str | None = None,
        abstain_below: float = 0.5,
    ) -> dict[str, Any]:
        """Publish a run's candidate, or with `plan_digest` the abstaining first release."""
        body = {
            "approved_by": approved_by,
            "run": run,
            "plan_digest": plan_digest,
            "abstain_below": abstain_below,
        }
        return self._call("POST", "/v1/releases", json=body)

    def releases(self) -> list[dict[str, Any]]:
        """Return all releases, oldest first."""
        return list(self._call("GET", "/v1/releases")["releases"])

    def release(self, release: str) -> dict[str, Any]:
        """Return a release with its card, weights and signed bundle."""
        return self._call("GET", f"/v1/releases/{release}")

    def checkpoint(self) -> dict[str, Any]:
        """Return the log's newest signed checkpoint and the key that signs it."""
        return self._call("GET", "/v1/checkpoint")

    def bytes_sent(self) -> dict[str, int]:
        """Return the gateway's totals: calls, refused, bytes from nodes and to nodes."""
        return self._call("GET", "/v1/traffic")

    def processes(self) -> dict[str, int]:
        """Return the process ids of the fleet by name."""
        return self._call("GET", "/v1/processes")

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **options)
            value: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _silent(method, path, error) from error
        if answer.is_error:
            said = [value.get("detail", ""), *value.get("reasons", ())]
            raise ServiceUnavailable(f"{value.get('title', 'refused')}: {': '.join(said)}")
        return value


def _trusting(ca: Path | None) -> ssl.SSLContext | bool:
    try:
        return True if ca is None else ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ServiceUnavailable(f"{ca} is not a readable certificate") from error


def _silent(method: str, path: str, error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"the coordinator did not answer {method} {path} ({type(error).__name__}): is it running "
        "there, and is its certificate's authority the one that is named?"
    )


def _detail(answer: httpx.Response) -> str:
    """Return the one line of a problem document; nothing of anything else."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "no reason was given"
