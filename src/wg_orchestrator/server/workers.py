import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import anyio
import structlog
from anyio.abc import Process

logger = structlog.get_logger("wg_orchestrator")

FIRST_DELAY = 0.1
MAX_DELAY = 10.0
"""Seconds until a worker that has died is started again: they double with each time, until one has lived so long."""


@contextmanager
def port_held(host: str, port: int) -> Iterator[int]:
    """Hold the port for workers that will share it, and say which one it is. Raises OSError if it can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
        yield holder.getsockname()[1]


async def supervise(commands: Iterable[Sequence[str]]) -> None:
    """Keep a process running each of the commands until SIGTERM or SIGINT, which have them stop in good order.

    They live no longer than this process, however that ends: their standard input does not.
    """
    workers: set[Process] = set()
    stopping = anyio.Event()

    async def keep(command: Sequence[str]) -> None:
        delay = FIRST_DELAY
        while not stopping.is_set():
            started = time.monotonic()
            # In a session of its own, Ctrl-C does not reach it: it gets one signal, from here.
            worker = await anyio.open_process(
                command, stdin=subprocess.PIPE, stdout=None, stderr=None, start_new_session=True
            )
            workers.add(worker)
            if stopping.is_set():
                worker.terminate()
            status = await worker.wait()
            workers.remove(worker)
            if stopping.is_set():
                return
            if time.monotonic() - started > MAX_DELAY:
                delay = FIRST_DELAY
            logger.warning("worker died", pid=worker.pid, status=status, restart_in=delay)
            with anyio.move_on_after(delay):
                await stopping.wait()
            delay = min(2 * delay, MAX_DELAY)

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as tasks:
            for command in commands:
                tasks.start_soon(keep, command)
            async for _ in signals:
                stopping.set()
                for worker in workers:
                    worker.terminate()
                break
