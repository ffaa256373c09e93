"""Machines that run `wg-orchestrator up`, in namespaces of their own."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.namespaces import Machine, address_of

PATIENCE = 30.0
_PACE = 0.02
_NUMBERS = itertools.count(1)
_SOCKETS = Path("/var/run/wireguard")
_SENT = re.compile(r"(\d+) packets transmitted, (\d+) received")


def until(condition: Callable[[], object], what: str = "it", patience: float = PATIENCE) -> None:
    """Wait until the condition holds. Raises AssertionError."""
    give_up = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < give_up, f"{what} did not come in {patience:g} s"
        time.sleep(_PACE)


class Service:
    """`wg-orchestrator serve` in a namespace."""

    def __init__(self, machine: Machine, folder: Path, *options: str, port: int = 8000) -> None:
        self.machine = machine
        self.host = str(address_of(machine).ip)
        self.port = port
        self._options = options
        self._log = folder / f"service-{port}.log"
        self._process: subprocess.Popen[str] | None = None

    def url(self, tenant: str = "acme") -> str:
        return f"ws://{self.host}:{self.port}/tenants/{tenant}"

    def start(self) -> "Service":
        """Start it, and wait until it listens."""
        with self._log.open("a") as log:
            at = self._log.stat().st_size
            command = [sys.executable, "-m", "wg_orchestrator", "serve", "--port", str(self.port), *self._options]
            environment = {**os.environ, "WG_ORCHESTRATOR_GRACE": "60"}
            self._process = self.machine.start(*command, stdout=log, stderr=log, env=environment)
        until(lambda: " serving " in self._log.read_text()[at:], "the service")
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self, seconds: float) -> None:
        """Have it stand still for so long."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)


@dataclass(frozen=True)
class Pings:
    """What `ping` says at its end."""

    sent: int
    received: int

    @property
    def lost(self) -> int:
        return self.sent - self.received


class Pinging:
    """`ping` in the background."""

    def __init__(self, machine: Machine, address: str, interval: float) -> None:
        self._process = machine.start(
            "ping",
            "-n",
            "-q",
            "-i",
            str(interval),
            "-W",
            "1",
            address,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def end(self) -> Pings:
        """Stop, and wait for the last answers."""
        time.sleep(0.5)  # The last request has its answer by then: nothing tells when.
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=PATIENCE)
        counts = _SENT.search(output)
        assert counts is not None, output
        sent, received = map(int, counts.groups())
        # The very last request may be on its way.
        return Pings(max(received, sent - 1), received) if sent - received <= 1 else Pings(sent, received)


class Peer:
    """One machine's agent, with an interface and a state directory of its own."""

    def __init__(self, machine: Machine, name: str, url: str, folder: Path, *options: str) -> None:
        # Programs in userspace share one directory of sockets, so each interface has a name of its own.
        self.interface = f"wg{os.getpid() % 10**7}-{next(_NUMBERS)}"
        self.machine = machine
        self.name = name
        self.url = url
        self.state = folder / f"state-{self.interface}"
        self._options = options
        self._log = folder / f"{self.interface}.log"
        self.process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> "Peer":
        with self._log.open("a") as log:
            self.process = self.machine.start(
                *self.words("up", self.url, "--name", self.name, *self._options, *options), stdout=log, stderr=log
            )
        return self

    def words(self, command: str, *options: str) -> list[str]:
        here = ["--interface", self.interface, "--state-dir", str(self.state)]
        return [sys.executable, "-m", "wg_orchestrator", command, *options, *here]

    def ask(self, command: str, *options: str) -> "subprocess.CompletedProcess[str]":
        words = self.machine.command(*self.words(command, *options))
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def status(self) -> dict[str, Any]:
        """What `status --json` prints, asked without the command, which takes its time to start."""
        nothing: dict[str, Any] = {"virtual_ip": None, "connected": False, "peers": []}
        try:
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(PATIENCE)
                control.connect(str(self.state / f"{self.interface}.sock"))
                control.sendall(b'{"command": "status"}\n')
                answer = control.makefile().readline()
        except OSError:
            return nothing
        return dict(json.loads(answer)) if answer else nothing

    def is_connected(self) -> bool:
        return bool(self.status()["connected"])

    def log(self) -> str:
        return self._log.read_text()

    @property
    def virtual_ip(self) -> str:
        """Its address, once it has one."""
        until(lambda: self.status()["virtual_ip"] is not None, f"the place of {self.name}: {self.log()}")
        return str(self.status()["virtual_ip"])

    def path_to(self, other: "Peer") -> tuple[str, str | None]:
        """How it reaches the other one, and why it does not."""
        for peer in self.status()["peers"]:
            if peer["display_name"] == other.name:
                return peer["path"], peer["reason"]
        return "none", "unknown"

    def ping(self, other: "Peer | str") -> None:
        """Wait until the other one answers. Raises AssertionError."""
        address = other if isinstance(other, str) else other.virtual_ip
        words = self.machine.command("ping", "-n", "-q", "-c", "1", "-W", "1", address)
        until(lambda: subprocess.run(words, capture_output=True, check=False).returncode == 0, f"a pong of {address}")

    def pinging(self, other: "Peer", interval: float = 0.02) -> Pinging:
        return Pinging(self.machine, other.virtual_ip, interval)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Have it end by SIGTERM. Returns its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def has_interface(self) -> bool:
        words = self.machine.command("ip", "link", "show", self.interface)
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def clean(self) -> None:
        """Remove what a program that was killed leaves."""
        (_SOCKETS / f"{self.interface}.sock").unlink(missing_ok=True)
