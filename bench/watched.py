import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from bench.errors import BrokenPromise
from bench.server import ROOT, Server
from bench.stage import tenant
from harness.cluster import free_ports


class Watched(Server):
    """The service, with its live page open in a browser, and two readers of its events."""

    def __init__(self, command: Sequence[str]) -> None:
        (admin,) = free_ports(1)
        super().__init__(command, {"admin_port": admin})
        words = (sys.executable, "-m", "bench.watching", f"http://127.0.0.1:{admin}", tenant(0))
        self._watching = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
        said = self._watching.stdout
        if said is None or said.readline() != "watching\n":
            self.stop()
            raise BrokenPromise("nobody watches: is Chromium installed (apt-get install chromium)?")

    def __enter__(self) -> "Watched":
        return self

    def seen(self) -> dict[str, Any]:
        """What the browser has done, which does not go on."""
        output, _ = self._watching.communicate(timeout=60)
        answer: dict[str, Any] = json.loads(output)
        return answer

    def stop(self) -> None:
        self._watching.kill()
        self._watching.communicate()
        super().stop()
