import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio

from wg_orchestrator.adapters.websocket.arrival import Arrival
from wg_orchestrator.adapters.websocket.tasks import Tasks
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.admission_control import AdmissionControl
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.tenant_id import TenantId

_ATTEMPTS = 10
"""How often it is tried to store what became of a use, a second apart. After that it stays reserved for its key."""


class Entrance:
    """Lets newcomers in by what they were granted, and sees to it that only a welcome takes a use."""

    def __init__(
        self, control: AdmissionControl, telemetry: PeerTelemetry, tasks: Tasks, stopping: asyncio.Event
    ) -> None:
        """`tasks` are those that the service waits for. `stopping` is set when it stops."""
        self._control = control
        self._telemetry = telemetry
        self._tasks = tasks
        self._stopping = stopping

    async def enter(self, arrival: Arrival) -> tuple[Arrival, bool]:
        """The arrival as it may come in, and whether that takes a use: then `settle` it, or `give_back`.

        Raises Revoked, UsedUp, StayOver or Unavailable.
        """
        newcomer, takes_use = await self._control.enter(arrival.grant, arrival.tenant_id, arrival.newcomer)
        return arrival if newcomer is arrival.newcomer else replace(arrival, newcomer=newcomer), takes_use

    def settle(self, arrival: Arrival) -> None:
        """The arrival was welcomed."""
        self._tasks.start(self._store(self._control.settle, arrival))

    def give_back(self, arrival: Arrival) -> None:
        """The arrival was not welcomed."""
        self._tasks.start(self._store(self._control.give_back, arrival))

    async def _store(self, store: Callable[[Grant, TenantId, Newcomer], Awaitable[None]], arrival: Arrival) -> None:
        try:
            for _ in range(_ATTEMPTS):
                try:
                    await store(arrival.grant, arrival.tenant_id, arrival.newcomer)
                    return
                except Unavailable:
                    if self._stopping.is_set():
                        return
                    with anyio.move_on_after(1.0):
                        await self._stopping.wait()
        except Exception:
            self._telemetry.failed("use not stored", arrival.tenant_id)
