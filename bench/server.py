import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from bench.dialect import V1, V2, Dialect
from bench.errors import BrokenPromise

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
_START_TIMEOUT = 20.0


def prepare_this_process() -> None:
    """Pin the load generator to the first core, and raise the limit on open files, for it and for the servers that it
    starts, as far as possible.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    Server.core = cores[-1]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # On SIGTERM, end the server under test too, and report the figures so far, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far, in nanoseconds (/proc/PID/stat only has 10 ms)."""
    # The clock id that clock_getcpuclockid(3) returns for a process.
    return time.clock_gettime(~pid << 3 | 2)


class Server:
    """A server under test: a process of its own on a core of its own. It is killed at the end."""

    core = 0
    speaks: tuple[Dialect, ...] = (V1,)
    """The protocol versions that its clients speak, in turn."""
    beside: Path | None = None
    """The checkout whose sources a `Beside` server runs."""

    def __init__(self, command: Sequence[str], settings: Mapping[str, object] | None = None) -> None:
        """Start `command`, in which `{port}` stands for the port to listen on, and wait until it listens.

        `settings` are settings of our service, by name. A server that does not know them ignores them.
        """
        with socket.create_server((HOST, 0)) as free:
            self.port: int = free.getsockname()[1]
        self.ports: tuple[int, ...] = (self.port,)
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self._log = Path(self._directory.name, "log")
        environment = {**os.environ, "PYTHONPATH": f"{self._root()}{os.pathsep}{self._root() / 'src'}"}
        environment["WG_ORCHESTRATOR_LOG_LEVEL"] = "warning"  # The rivals log nothing at all.
        environment |= {f"WG_ORCHESTRATOR_{name.upper()}": str(value) for name, value in (settings or {}).items()}
        self._command = [sys.executable, *(word.format(port=self.port) for word in command)]
        self._environment = environment
        self._start()
        try:
            self._await_port()
        except BaseException:
            self.stop()
            raise

    def _root(self) -> Path:
        return ROOT

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the commands are in contenders.py
                self._command, cwd=self._directory.name, env=self._environment, stdout=log, stderr=log
            )
        os.sched_setaffinity(self._process.pid, {self.core})

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self._process.pid)

    @property
    def memory(self) -> int:
        """The proportional set size of its process, in bytes."""
        with self._proc("smaps_rollup").open() as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

    @property
    def resident(self) -> int:
        """The resident set size of its process, in bytes: cheap enough to be read several times a second."""
        return int(self._proc("statm").read_text().split()[1]) * resource.getpagesize()

    @property
    def open_files(self) -> int:
        return sum(1 for _ in self._proc("fd").iterdir())

    @property
    def threads(self) -> int:
        return sum(1 for _ in self._proc("task").iterdir())

    def _proc(self, name: str) -> Path:
        return Path("/proc", str(self._process.pid), name)

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def explain(self, fault: str) -> str:
        """Add to `fault` how the server ended, if it did, and the last line that it printed."""
        status = self._process.poll()
        last = self.said.strip().splitlines()[-1:]
        ended = "" if status is None else f"; the server ended with status {status}"
        return f"{fault}{ended}{'; it said: ' + last[0][:200] if last else ''}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def signal(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def await_end(self) -> None:
        """Wait until it has ended."""
        self._process.wait()

    def begin(self) -> None:
        """Start it again on its port, and wait until it listens."""
        self._start()
        self._await_port()

    def _await_port(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                socket.create_connection((HOST, self.port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BrokenPromise(self.explain("it does not listen")) from None
                time.sleep(0.05)


class Beside(Server):
    """The same, with the sources of another checkout, in the environment of this one."""

    def _root(self) -> Path:
        if self.beside is None:
            raise BrokenPromise("no other checkout was named: --beside")
        return self.beside


class WithV2(Server):
    """The same, with clients that speak protocol v2."""

    speaks = (V2,)


class WithBoth(Server):
    """The same, with clients that speak v1 or v2 in turn."""

    speaks = (V1, V2)
