"""The service as users run it: a `wg-orchestrator serve` process of its own, seen from outside."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from harness.certificates import trusting
from tests.integration.service import PATIENCE, Endpoint

_FIELDS_BEFORE_STATE = ") "
_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[[a-z]+ *\] ")
"""How each line of the log begins. A traceback does not, nor does a line that a client has forged."""


class ServiceProcess(Endpoint):
    """A service in a process of its own, with its log, its open files and its CPU time."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        super().__init__(self._address())
        self.files_at_rest = self.open_files()

    def _address(self) -> str:
        give_up = time.monotonic() + PATIENCE
        while (serving := re.search(r"wss?://([\d.:]+)/tenants/", self.log())) is None:
            assert time.monotonic() < give_up, self.log()
            assert self._process.poll() is None, self.log()
            time.sleep(0.02)
        return serving[1]

    def log(self) -> str:
        return self._log.read_text()

    def unexpected_lines(self) -> list[str]:
        """The lines of the output that are not log lines: a traceback, a warning of the interpreter, a forged line."""
        return [line for line in self.log().splitlines() if not _LINE.match(line)]

    def admin_url(self) -> str:
        """Where the operators' API is."""
        found = re.search(r" admin=(https?://\S+)", self.log())
        assert found is not None, self.log()
        return found[1]

    def kill(self) -> None:
        """As the kernel does when there is no memory left."""
        self._process.kill()
        self._process.wait()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    async def open_files_settle(self, condition: Callable[[int], bool]) -> None:
        """Return when the number of open files meets `condition`."""
        with anyio.fail_after(PATIENCE):
            while not condition(self.open_files()):
                await anyio.sleep(0.005)

    def cpu_time(self) -> float:
        """Seconds of CPU time that the process has used, in user mode and in the kernel."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        fields = stat.rpartition(_FIELDS_BEFORE_STATE)[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process, as a debugger or a suspended machine would, and let it go on at the end."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def abort_clients(self) -> None:
        while self.at_end:
            self.at_end.pop()()


@contextmanager
def serving(folder: Path, max_files: int | None = None, **options: object) -> Iterator[ServiceProcess]:
    """A service process with these settings and at most `max_files` open files."""
    options = {"host": "127.0.0.1", "port": 0, "close_timeout": 2, **options}
    command = [sys.executable, "-m", "wg_orchestrator", "serve"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    if max_files is not None:
        command = ["/bin/sh", "-c", f'ulimit -n {max_files} && exec "$@"', "sh", *command]
    log = folder / "service.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "NO_COLOR": "1"}
        )
    service = None
    try:
        service = ServiceProcess(process, log)
        if certificate := options.get("tls_certificate"):
            service.tls = trusting(Path(str(certificate)))
        yield service
    finally:
        if service is not None:
            service.abort_clients()
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
