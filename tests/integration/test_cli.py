import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness.keys import a_key_text
from wg_orchestrator import __version__

PATIENCE = 30.0
HANDSHAKE = (
    b"GET /tenants/acme HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Command:
    """A `wg-orchestrator` process whose output is read line by line."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wg_orchestrator", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            # A shell that runs the tests in the background has SIGINT ignored; child processes inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self._unread = b""
        self.output = ""

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def line(self, pattern: str) -> str:
        """Read up to the next line that contains `pattern`; return its first group."""
        while True:
            while b"\n" not in self._unread:
                self._unread += self._read()
            line, self._unread = self._unread.split(b"\n", 1)
            self.output += line.decode() + "\n"
            if match := re.search(pattern, line.decode()):
                return match[match.re.groups and 1]

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        data = os.read(self._process.stdout.fileno(), 65536) if readable else b""
        assert data, f"no such line in:\n{self.output}{self._unread.decode()}"
        return data

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self, number: int) -> int:
        self.signal(number)
        return self.end()

    def end(self) -> int:
        rest, _ = self._process.communicate(timeout=PATIENCE)
        self.output += (self._unread + rest).decode()
        return self._process.returncode


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Command, str]]:
    with Command(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", "--close-timeout", "1") as command:
        yield command, command.line(r"ws://(127.0.0.1:\d+)/tenants/")


def test_two_clients_see_each_other_come_and_go(service: tuple[Command, str], tmp_path: Path) -> None:
    serve, address = service
    url = f"ws://{address}/tenants/acme"
    with Command(tmp_path, "join", url, "--name", "laptop", "--json") as laptop:
        welcome = json.loads(laptop.line(r"(\{.*\})"))
        assert welcome == {"virtual_ip": "100.64.0.1", "peers": []}
        with Command(tmp_path, "join", url, "--name", "phone", "--public-key", a_key_text(1)) as phone:
            phone.line("you are 100.64.0.2; 1 others")
            assert json.loads(laptop.line(r"(\{.*\})")) == {
                "display_name": "phone",
                "public_key": a_key_text(1),
                "virtual_ip": "100.64.0.2",
            }
            assert phone.stop(signal.SIGINT) == 0
            assert "private key" not in phone.output
        assert json.loads(laptop.line(r"(\{.*\})")) == {"removed_peer": "100.64.0.2"}
        assert laptop.stop(signal.SIGINT) == 0
        assert "private key" in laptop.output
    assert serve.stop(signal.SIGINT) == 0
    for command in (serve, laptop, phone):
        assert "Traceback" not in command.output


def test_a_client_joins_again_after_a_restart_of_the_service(tmp_path: Path) -> None:
    options = ("serve", "--host", "127.0.0.1", "--close-timeout", "1", "--port")
    with Command(tmp_path, *options, "0") as first:
        address = first.line(r"ws://(127.0.0.1:\d+)/tenants/")
        with Command(tmp_path, "join", f"ws://{address}/tenants/acme") as client:
            client.line("you are 100.64.0.1")
            first.stop(signal.SIGTERM)
            client.line(r"service restart \(1012\); trying again in")
            with Command(tmp_path, *options, address.split(":")[1]):
                client.line("you are 100.64.0.1")
                assert client.stop(signal.SIGINT) == 0


def test_the_service_stops_on_sigterm_whatever_its_peers_do(service: tuple[Command, str]) -> None:
    serve, address = service
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as silent:
        silent.sendall(HANDSHAKE)
        assert silent.recv(4096).startswith(b"HTTP/1.1 101")
        started = time.monotonic()
        assert serve.stop(signal.SIGTERM) in (0, -signal.SIGTERM)
        assert time.monotonic() - started < PATIENCE
    assert "Traceback" not in serve.output


def test_a_second_ctrl_c_ends_the_service_at_once_and_cleanly(service: tuple[Command, str]) -> None:
    serve, address = service
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as silent:
        silent.sendall(HANDSHAKE)
        assert silent.recv(4096).startswith(b"HTTP/1.1 101")
        serve.signal(signal.SIGINT)
        assert silent.recv(4096) == b"\x88\x11" + (1012).to_bytes(2, "big") + b"service restart"
        assert serve.stop(signal.SIGINT) == 0
    assert "Traceback" not in serve.output
    assert "rror" not in serve.output


def test_a_line_for_each_join_leave_and_refusal_and_none_besides(tmp_path: Path) -> None:
    name = '"}{"event": "joined"'
    with Command(tmp_path, "serve", "--host", "127.0.0.1", "--port", "0", "--log-format", "json") as serve:
        url = f"ws://{serve.line('ws://(127.0.0.1:[0-9]+)/tenants/')}/tenants"
        with connect(f"{url}/acme") as peer, connect(f"{url}/acme") as refused, connect(f"{url}/acme"):
            peer.send(json.dumps({"display_name": name, "public_key": a_key_text(1)}))
            assert peer.recv()
            refused.send(json.dumps({"display_name": 'x\n{"event": "joined"}\u200d', "public_key": a_key_text(2)}))
            with pytest.raises(ConnectionClosed):
                refused.recv()
            with pytest.raises(InvalidStatus):
                connect(f"{url}/a%0Ab")
        serve.line("left")
        serve.stop(signal.SIGTERM)
    lines = [json.loads(line) for line in serve.output.splitlines()]
    told = [{key: value for key, value in line.items() if key not in ("level", "timestamp")} for line in lines]
    who, named = {"tenant": "acme", "source": "127.0.0.1"}, {"virtual_ip": "100.64.0.1", "name": name}
    assert told[1:] == [
        {"event": "joined", **who, **named, "peers": 1},
        {"event": "refused", **who, "reason": "bad display name"},
        {"event": "refused", "source": "127.0.0.1", "reason": "bad tenant id"},
        {"event": "left", **who, **named, "reason": "closed by the peer", "peers": 0},
    ]


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (("serve", "--network", "10.0.0.0/99"), "network: .*10.0.0.0/99", 2),
        (("serve", "--port", "eighty"), "port: .*eighty", 2),
        (("serve", "--log-level", "loud"), "log_level: .*loud", 2),
        (("serve", "--tls-key", "key.pem"), "tls_certificate and tls_key are given together", 2),
        (("serve", "--tls-key", "k.pem", "--tls-certificate", "c.pem"), "can't use c.pem and k.pem: No such file", 1),
        (("serve", "--trusted-proxies", "10.0.0.0/8,x"), "trusted_proxies: .*'x'", 2),
        (("serve", "--host", "192.0.2.1"), "can't listen on 192.0.2.1 port 8000", 1),
        (("serve", "--port", "0", "--metrics-port", "1", "--metrics-host", "192.0.2.1"), "can't listen on 192.0", 1),
        (("join", "ws://127.0.0.1:1/tenants/acme", "--public-key", "x"), "can't connect: .*", 1),
        (("join", "http://127.0.0.1:1/"), "http://127.0.0.1:1/ isn't a valid URI", 1),
    ],
)
def test_a_command_that_can_not_do_its_work_says_why_in_one_line(
    arguments: tuple[str, ...], message: str, status: int, tmp_path: Path
) -> None:
    with Command(tmp_path, *arguments) as command:
        assert command.end() == status
        lines = [line for line in command.output.splitlines() if not line.startswith(("private key", "public key"))]
        assert len(lines) == 1, command.output
        assert re.fullmatch(f"wg-orchestrator: {message}.*", lines[0])


def test_a_refused_client_says_why(service: tuple[Command, str], tmp_path: Path) -> None:
    _, address = service
    with Command(tmp_path, "join", f"ws://{address}/tenants/acme", "--name", "x\ty") as command:
        assert command.end() == 1
        assert command.output.splitlines()[-1] == "wg-orchestrator: bad display name (4502)"
    with Command(tmp_path, "join", f"ws://{address}/tenants/a!b") as command:
        assert command.end() == 1
        assert "HTTP 400 a tenant id is" in command.output


def test_a_setting_from_the_environment_file_is_used(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WG_ORCHESTRATOR_PORT=0\nWG_ORCHESTRATOR_NETWORK=fd00::/64\n")
    with Command(tmp_path, "serve", "--host", "127.0.0.1", "--log-format", "json") as command:
        line = json.loads(command.line(r"(\{.*serving.*\})"))
        assert line["network"] == "fd00::/64"
        assert command.stop(signal.SIGINT) == 0


def test_the_demo_ends_by_itself(tmp_path: Path) -> None:
    with Command(tmp_path, "demo", "--seconds", "2", "--peers", "3") as command:
        command.line("you are 100.64.0.1")
        assert command.end() == 0
        assert "Traceback" not in command.output


def test_the_version_is_printed(tmp_path: Path) -> None:
    with Command(tmp_path, "--version") as command:
        assert command.end() == 0
        assert command.output == f"wg-orchestrator, version {__version__}\n"
