import asyncio
from collections.abc import Coroutine
from functools import cached_property
from typing import Any, Protocol

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from wg_orchestrator.server.clock import Deadlines, LoopClock
from wg_orchestrator.server.gate import Gate
from wg_orchestrator.server.telemetry import ServerTelemetry
from wg_orchestrator.settings import ConnectionLimits, GateLimits
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire.close_codes import AT_CAPACITY


class Requesting(Protocol):
    def request_overdue(self) -> None: ...


class Upgraded(Protocol):
    def join_overdue(self) -> None: ...
    def ping(self) -> None: ...
    def pong_overdue(self) -> None: ...
    def close_overdue(self) -> None: ...


class ServerContext:
    """What all connections to one server share."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        limits: ConnectionLimits,
        gate_limits: GateLimits,
        max_files: int,
        telemetry: Telemetry,
    ) -> None:
        """`config` is loaded. `max_files` is how many files the process may have open."""
        self.config = config
        self.app: ASGIApp = config.loaded_app
        self.state = state
        self.limits = limits
        self.max_request_size = gate_limits.max_request_size
        self.gate = Gate(gate_limits, max_files)
        self.telemetry = ServerTelemetry(telemetry)
        self.clock = clock = LoopClock()
        self.requests = Deadlines[Requesting](
            clock, gate_limits.request_timeout, lambda one: one.request_overdue(), gate_limits.max_pending
        )
        self.joins = Deadlines[Upgraded](
            clock, limits.join_timeout, lambda one: one.join_overdue(), gate_limits.max_pending
        )
        self.pings = Deadlines[Upgraded](clock, limits.ping_interval, lambda one: one.ping())
        self.pongs = Deadlines[Upgraded](clock, limits.ping_timeout, lambda one: one.pong_overdue())
        self.closings = Deadlines[Upgraded](clock, limits.close_timeout, lambda one: one.close_overdue())

    def make_room(self, file: int) -> None:
        """Make room for a new connection with this file number. While the gate is crowded, at most `gate.few`
        connections may be without a request, as many without a join, and as many closing. The oldest others are ended.
        """
        # `few` is about half of the last eighth of the places: one half for requests, one for joins. A connection that
        # is closing may be cut at any time, as its client has been told why.
        if self.gate.is_crowded(file):
            for waiting in (self.requests, self.joins, self.closings):
                waiting.shrink(self.gate.few)

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of all connections. It is kept: to ask for it costs a system call before Python 3.12."""
        return asyncio.get_running_loop()

    def start(self, call: Coroutine[Any, Any, None]) -> None:
        """Run an ASGI call as a task. The server waits for its tasks when it stops."""
        task = self.loop.create_task(call)
        self.state.tasks.add(task)
        task.add_done_callback(self.state.tasks.discard)

    def is_out_of_memory(self, source: str) -> bool:
        """Whether memory is full, so that a join has to be refused. If so, count and log the refusal."""
        if self.gate.memory_is_full:
            self.telemetry.refused(AT_CAPACITY.reason, source)
        return self.gate.memory_is_full

    def forget(self, connection: Any, source: str) -> None:
        """Forget a lost connection that the gate has counted for `source`."""
        self.state.connections.discard(connection)
        self.gate.leave()
        self.gate.discount(source)
