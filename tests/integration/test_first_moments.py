"""A signal that comes just after the process has begun, as when a container is stopped right after its start."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.service import PATIENCE

NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]


def may_have_a_process_1() -> bool:
    return (
        shutil.which(NAMESPACE[0]) is not None
        and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    )


def until_it_catches(number: int, process: subprocess.Popen[str]) -> int:
    """Wait until the only child of `process` has a handler for that signal (proc_pid_status(5): SigCgt)."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        assert process.poll() is None
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            status = Path(f"/proc/{child}/status").read_text()
            caught = int(status.partition("SigCgt:")[2].split()[0], 16)
            if caught >> (number - 1) & 1:
                return int(child)
    raise AssertionError("it has no handler")


@pytest.mark.skipif(not may_have_a_process_1(), reason="needs unshare(1), and the right to make a PID namespace")
def test_process_1_ends_at_a_sigterm_in_its_first_moments(tmp_path: Path) -> None:
    command = [*NAMESPACE, sys.executable, "-m", "wg_orchestrator", "serve", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        os.kill(until_it_catches(signal.SIGTERM, process), signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, "")


WATCH = """
import os, signal, sys

os.getpid = lambda: 1

class Watch:
    def find_spec(self, name, *_):
        if name not in ("wg_orchestrator", "wg_orchestrator.__main__"):
            print(name, callable(signal.getsignal(signal.SIGTERM)))
            os._exit(0)

sys.meta_path.insert(0, Watch())
from wg_orchestrator.__main__ import main
main()
"""


def test_process_1_has_a_handler_before_it_loads_anything() -> None:
    said = subprocess.run([sys.executable, "-c", WATCH], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert said.stdout == "wg_orchestrator.cli True\n", said.stderr
