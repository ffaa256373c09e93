"""Runs the real NATS server on a free local port, for as long as a test needs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 30.0
BINARY = Path(sys.executable).with_name("nats-server")


class NatsServer:
    """One server process with its store in `folder`. It can be killed and started again on its port."""

    def __init__(self, folder: Path, name: str = "alone", port: int = -1, extra: str = "") -> None:
        self._folder = folder
        self._name = name
        self._extra = extra
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.monitor = ""
        """The URL of its monitoring endpoints, if its configuration has them."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __str__(self) -> str:
        return self._name

    def start(self) -> None:
        """Start it, and wait until it listens. JetStream is up by then, unless the server is part of a cluster."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for stale in self._folder.glob("*.ports"):
            stale.unlink()
        config = self._folder / "nats.conf"
        config.write_text(
            f'server_name: "{self._name}"\nlisten: "127.0.0.1:{self._port}"\n{self._extra}\n'
            f'jetstream {{\n  store_dir: "{self._folder / "store"}"\n  max_memory_store: 256M\n}}\n'
        )
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(BINARY), "-c", str(config), "--ports_file_dir", str(self._folder)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for ports in self._folder.glob("*.ports"):
                text = ports.read_text()
                if text.endswith("}"):
                    found = json.loads(text)
                    self._port = int(found["nats"][0].rsplit(":", 1)[1])
                    self.monitor = found.get("monitoring", [""])[0]
                    return
            assert self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.01)
        raise AssertionError((self._folder / "log").read_text())

    def kill(self) -> None:
        """Kill it, so that it can't write anything more. Does nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Tell it to end, by SIGTERM, and wait until it has ended. Does nothing if it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # Wait for it: it may run on for a moment.

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)
