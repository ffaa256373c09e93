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
        websockets: ASGIApp | None = None,
    ) -> None:
        """`config` is loaded. `max_files` is how many files the process may have open. `websockets` is the application
        that WebSockets are for, unless it is the one of all requests.
        """
        self.config = config
        self.app: ASGIApp = websockets or config.loaded_app
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
        """Let a new connection, which has this file number, have no less room for those that wait in vain: half of the
        last eighth may be without a request, half without a join, and who has been closed has been told so.
        """
        if self.gate.is_crowded(file):
            for waiting in (self.requests, self.joins, self.closings):
                waiting.shrink(self.gate.few)

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The one event loop that all of them run on. To ask for it costs a system call before Python 3.12."""
        return asyncio.get_running_loop()

    def start(self, call: Coroutine[Any, Any, None]) -> None:
        """Have an ASGI call run as a task that the server knows of."""
        task = self.loop.create_task(call)
        self.state.tasks.add(task)
        task.add_done_callback(self.state.tasks.discard)

    def is_out_of_memory(self, source: str) -> bool:
        """Whether whoever asks to join now has to be refused; then that is told of."""
        if self.gate.memory_is_full:
            self.telemetry.refused(AT_CAPACITY.reason, source)
        return self.gate.memory_is_full

    def forget(self, connection: Any, source: str) -> None:
        """The connection, which the gate has counted as that source's, is lost."""
        self.state.connections.discard(connection)
        self.gate.leave()
        self.gate.discount(source)
