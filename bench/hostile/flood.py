import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from types import TracebackType

from bench.errors import BrokenPromise
from bench.hostile.attacks import Attack
from bench.server import ROOT

_PATIENCE = 20.0


@dataclass
class Stand:
    """The state of a flood."""

    open: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    """How many connections the service has ended, by the way in which it did."""
    sent: int = 0
    """Bytes of blocks that were sent."""

    @property
    def ended(self) -> int:
        return sum(self.answers.values())


class Flood:
    """An attack by a process of its own, on the core of this process. It ends when this process ends, in any way."""

    def __init__(self, attack: Attack, port: int) -> None:
        self._attack = attack
        self._rest = b""
        self._stand = Stand()
        self._process = subprocess.Popen(  # noqa: S603 - it is our own module
            [sys.executable, "-m", "bench.hostile.flooder", attack.name, str(attack.connections), str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)

    @property
    def stand(self) -> Stand:
        """The latest state. Raises BrokenPromise if the attacker's process has ended."""
        try:
            while data := os.read(self._output, 1 << 16):
                self._rest += data
        except BlockingIOError:
            pass
        else:
            raise BrokenPromise(f"the attacker has ended with status {self._process.wait()}")
        self._take()
        return self._stand

    @property
    def up(self) -> bool:
        """Whether all of its connections have been made."""
        return self.stand.open + self._stand.ended >= self._attack.connections

    def end(self) -> Stand:
        """Stop it. Returns its last state."""
        os.set_blocking(self._output, True)
        self._rest += self._process.communicate(timeout=_PATIENCE)[0]
        self._take()
        return self._stand

    def _take(self) -> None:
        *lines, self._rest = self._rest.split(b"\n")
        if lines:
            self._stand = Stand(**json.loads(lines[-1]))

    def __enter__(self) -> "Flood":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
