import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Thread

import anyio
import structlog
from anyio.abc import Process

logger = structlog.get_logger("wg_orchestrator")

FIRST_DELAY = 0.1
MAX_DELAY = 10.0
"""Seconds until a worker that has died is started again: first FIRST_DELAY, then twice as long each time, up to this. A
worker that has lived longer than MAX_DELAY begins with FIRST_DELAY again.
"""
SERVING = "serving"
SPARE_TIME = 5.0
"""Seconds beyond its time to stop until a worker without a supervisor is killed."""

_CHANNEL = 0
"""A worker's standard input is a socket. The supervisor holds the other end for as long as the supervisor lives."""
_LONGEST_REASON = 4096


class WorkerCannotStart(Exception):
    """A worker has ended with this exit status, and no worker with its command has served before."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


def end_with_supervisor(time_to_stop: float) -> None:
    """When the supervisor has gone, send this worker SIGTERM, at whatever stage it is. Kill it if it has not ended
    after `time_to_stop` seconds and SPARE_TIME.
    """

    def watch() -> None:
        with suppress(ConnectionResetError):  # Raised if the supervisor has not read what this worker told it.
            os.read(_CHANNEL, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(time_to_stop + SPARE_TIME)
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=watch, daemon=True).start()


def tell_supervisor(what: str) -> None:
    """Tell the supervisor SERVING, or why this worker can't serve. Call it once."""
    with suppress(BrokenPipeError):  # The supervisor has gone, so this worker is about to end.
        os.write(_CHANNEL, what.encode(errors="backslashreplace")[:_LONGEST_REASON])


@contextmanager
def port_held(host: str, port: int) -> Iterator[int]:
    """Hold the port for workers that will share it, and yield its number. Raises OSError if it is not free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
        yield holder.getsockname()[1]


async def supervise(commands: Iterable[Sequence[str]]) -> None:
    """Keep one worker running for each command until SIGTERM, SIGINT or SIGHUP. Then all workers stop in good order. If
    two signals have come and one is SIGINT, the workers skip all waiting.

    Workers end when this process ends, however it does. A worker that dies is started again. But if no worker with its
    command has served before, all workers stop. Raises WorkerCannotStart.
    """
    workers: set[Process] = set()
    stopping = anyio.Event()
    failures: list[WorkerCannotStart] = []

    def stop(number: signal.Signals) -> None:
        stopping.set()
        for worker in workers:
            # Not by a method of `worker`: that may reap the process, and then `wait` does not learn of its end.
            with suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    async def keep(command: Sequence[str]) -> None:
        delay, has_served = FIRST_DELAY, False
        while not stopping.is_set():
            started = time.monotonic()
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    # In a session of its own, Ctrl-C does not reach the worker: it gets its signals only from here.
                    worker = await anyio.open_process(
                        command, stdin=theirs.fileno(), stdout=None, stderr=None, start_new_session=True
                    )
                workers.add(worker)
                if stopping.is_set():
                    os.kill(worker.pid, signal.SIGTERM)
                status = await worker.wait()
                workers.remove(worker)
                said = ours.recv(_LONGEST_REASON).decode(errors="replace")
            if stopping.is_set():
                return
            has_served = has_served or said == SERVING
            if not has_served:
                failures.append(WorkerCannotStart(said or f"a worker has died at its start (status {status})", status))
                stop(signal.SIGTERM)
                return
            if time.monotonic() - started > MAX_DELAY:
                delay = FIRST_DELAY
            reason = {} if said in ("", SERVING) else {"reason": said}
            logger.warning("worker died", pid=worker.pid, status=status, **reason, restart_in=delay)
            with anyio.move_on_after(delay):
                await stopping.wait()
            delay = min(2 * delay, MAX_DELAY)

    async def heed(signals: AsyncIterator[signal.Signals]) -> None:
        told = list[signal.Signals]()
        async for number in signals:
            told.append(number)
            stop(signal.SIGINT if len(told) > 1 and signal.SIGINT in told else signal.SIGTERM)

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # With nohup it is ignored.
        numbers.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*numbers) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heed, signals)
            async with anyio.create_task_group() as kept:
                for command in commands:
                    kept.start_soon(keep, command)
            tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
