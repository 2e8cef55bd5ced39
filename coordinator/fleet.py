"""The nodes as a fleet: who is online, who is registered, and a courier that always runs.

`Fleet` is what the service needs; `FlowerFleet` is Flower's, which keeps the processes up
(`coordinator.supervisor`) and starts the courier run again whenever it ended or fell silent.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Protocol

from coordinator.courier import CourierQueue
from coordinator.errors import FlowerUnavailable
from coordinator.federation import SOCKET_VARIABLE, Control
from coordinator.settings import CoordinatorSettings
from coordinator.supervisor import Supervisor

LOOK_S = 1.0
SILENT_S = 60.0
"""The courier asks for work every 20 s at most; one that has not for this long is replaced."""


class Fleet(Protocol):
    """What the service needs to know of the nodes' network."""

    def start(self) -> None:
        """Bring everything up."""
        ...

    def stop(self) -> None:
        """Bring everything down."""
        ...

    def register(self, supernode_key: str) -> int:
        """Admit a node's network key and return its network id."""
        ...

    def online(self) -> frozenset[int]:
        """Return the network ids heard of lately."""
        ...

    def processes(self) -> dict[str, int]:
        """Return the process ids that belong to the network, by name."""
        ...


class FlowerFleet:
    """Flower's SuperLink, superexec, gateway and courier, kept running."""

    def __init__(self, settings: CoordinatorSettings, queue: CourierQueue) -> None:
        self._settings, self._queue = settings, queue
        self._supervisor = (
            Supervisor(settings, courier_socket_variable=SOCKET_VARIABLE)
            if settings.flower
            else None
        )
        self._control: Control | None = None
        self._online: frozenset[int] = frozenset()
        self._courier: int | None = None
        self._courier_since = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="fleet", daemon=True)

    def start(self) -> None:
        """Start the processes and the courier.

        Raises:
            FlowerUnavailable: The SuperLink does not come up.
        """
        if self._supervisor is not None:
            self._supervisor.start()
        address = f"127.0.0.1:{self._settings.superlink_port}"
        self._control = Control(address, self._settings.authority)
        self._end_earlier_courier()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, then the processes."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._supervisor is not None:
            self._supervisor.stop()
        if self._control is not None:
            self._control.close()

    def register(self, supernode_key: str) -> int:
        """Register a SuperNode's public key.

        Raises:
            FlowerUnavailable: The SuperLink does not answer.
            NodeKeyInvalid: Not an OpenSSH P-384 public key.
        """
        return self._asked().register(supernode_key)

    def online(self) -> frozenset[int]:
        """Return who was online when last looked, at most a second or so ago."""
        return self._online

    def processes(self) -> dict[str, int]:
        """Return the children's process ids."""
        return {} if self._supervisor is None else self._supervisor.processes()

    def _asked(self) -> Control:
        if self._control is None:
            raise FlowerUnavailable("the fleet is not started")
        return self._control

    def _tend(self) -> None:
        while not self._stop.is_set():
            try:
                control = self._asked()
                self._online = frozenset(n.flower_id for n in control.nodes() if n.online)
                self._keep_courier(control)
            except FlowerUnavailable:
                self._online = frozenset()  # the supervisor brings the SuperLink back
            self._stop.wait(LOOK_S)

    def _keep_courier(self, control: Control) -> None:
        since = time.monotonic() - self._courier_since
        silent = min(self._queue.silent_for_s(), since) > SILENT_S
        if self._courier is not None and silent:
            control.stop_courier(self._courier)
        if self._courier is None or silent or not control.courier_runs(self._courier):
            self._courier = control.start_courier()
            self._courier_since = time.monotonic()
            self._courier_file.write_text(str(self._courier), encoding="ascii")

    def _end_earlier_courier(self) -> None:
        """End the courier of an earlier life of this service, if Flower still knows it."""
        if not self._courier_file.exists():
            return
        with contextlib.suppress(FlowerUnavailable, ValueError):  # it may have ended
            self._asked().stop_courier(int(self._courier_file.read_text(encoding="ascii")))
        self._courier_file.unlink()

    @property
    def _courier_file(self) -> Path:
        return self._settings.flower_folder / "courier.run"
