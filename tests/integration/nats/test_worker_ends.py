"""How workers, and the process that supervises them, start and end."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from dependency_injector import providers

from harness.certificates import write_certificate
from harness.nats_server import NatsServer
from tests.integration.nats.nodes import a_stream, until
from tests.integration.nats.test_workers import children, lives
from tests.integration.test_cli import PATIENCE, Command
from wg_orchestrator.container import Container
from wg_orchestrator.server.server import Server
from wg_orchestrator.server.workers import WorkerCannotStart, supervise
from wg_orchestrator.settings import Settings

NOWHERE = "nats://127.0.0.1:1"
LISTEN = ("serve", "--host", "127.0.0.1", "--port", "0")
TWO = (*LISTEN, "--workers", "2", "--close-timeout", "1")


@contextmanager
def run(folder: Path, *arguments: str, hangup: signal.Handlers = signal.SIG_DFL) -> Iterator[Command]:
    """Run a command that inherits `hangup` as its handler of SIGHUP."""
    former = signal.signal(signal.SIGHUP, hangup)
    try:
        command = Command(folder, *arguments)
    finally:
        signal.signal(signal.SIGHUP, former)
    with command:
        try:
            yield command
        finally:  # Also if the test fails: workers that live on keep the output open, and its end is waited for.
            for worker in children(command._process.pid) if command._process.poll() is None else ():
                os.kill(worker, signal.SIGKILL)


def both_serve(command: Command) -> str:
    address = command.line(r"wss?://(127.0.0.1:\d+)/tenants/")
    assert command.line(r"wss?://(127.0.0.1:\d+)/tenants/") == address
    return address


def readiness(address: str) -> int:
    try:
        with urlopen(f"http://{address}/readyz", timeout=PATIENCE) as response:
            return int(response.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_workers_that_can_not_start_end_the_service_with_one_line(tmp_path: Path) -> None:
    arguments = ("--nats", NOWHERE, "--tls-certificate", "c.pem", "--tls-key", "k.pem")
    with Command(tmp_path, *TWO, *arguments) as command:
        assert command.end() == 1
        assert command.output == "wg-orchestrator: can't use c.pem and k.pem: No such file or directory\n"


def test_a_worker_whose_metrics_port_is_taken_ends_the_service_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Command(tmp_path, *TWO, "--nats", NOWHERE, "--metrics-port", str(port - 1)) as command:
            assert command.end() == 1
            lines = [line for line in command.output.splitlines() if line.startswith("wg-orchestrator: ")]
            assert lines == [f"wg-orchestrator: can't listen on 127.0.0.1 port {port}: Address already in use"]
            assert "Traceback" not in command.output


@pytest.mark.parametrize(("command", "status"), [(("/bin/false",), 1), (("/bin/sh", "-c", "kill -9 $$"), -9)])
async def test_a_worker_that_dies_without_a_word_before_it_serves_is_not_started_again(
    command: tuple[str, ...], status: int
) -> None:
    with pytest.raises(WorkerCannotStart, match=f"status {status}") as failure:
        await supervise([command, ("/bin/sleep", "1000")])
    assert failure.value.status == status


async def test_one_that_can_not_replace_a_worker_is_tried_again_and_the_others_go_on(
    server: NatsServer, tmp_path: Path
) -> None:
    certificate, key = write_certificate(tmp_path, "x")
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    with Command(tmp_path, *TWO, "--nats", server.url, "--nats-stream", a_stream(), *files) as command:
        both_serve(command)
        first, second = children(command._process.pid)
        saved = key.read_bytes()
        key.unlink()
        os.kill(first, signal.SIGKILL)
        command.line("worker died")
        command.line("worker died.*can't use")
        assert lives(second)
        key.write_bytes(saved)
        command.line("serving")
        assert command.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_ctrl_c_while_workers_stop_ends_them_at_once(
    first: signal.Signals, server: NatsServer, tmp_path: Path
) -> None:
    arguments = ("--nats", server.url, "--nats-stream", a_stream(), "--shutdown-delay", "3600")
    with run(tmp_path, *TWO, *arguments) as command:
        address = both_serve(command)
        workers = children(command._process.pid)
        await until(lambda: {readiness(address) for _ in range(30)} == {200})  # Of both: they take turns.
        command.signal(first)
        await until(lambda: readiness(address) == 503)
        assert command.stop(signal.SIGINT) == 0
        assert not any(map(lives, workers))
        assert not re.search("Traceback|rror", command.output)


@pytest.mark.parametrize("order", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_of_two_signals_that_come_at_once_the_order_does_not_matter(order: tuple[signal.Signals, ...]) -> None:
    server = Server(Container(settings=providers.Object(Settings(host="127.0.0.1", port=0))))
    for number in order:
        assert not server.force_exit
        server.handle_exit(number, None)
    assert server.force_exit


def test_a_worker_that_heeds_no_signal_ends_after_its_supervisor() -> None:
    script = (
        "import signal, wg_orchestrator.server.workers as w\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nw.SPARE_TIME = 0\n"
        "w.end_with_supervisor(0.1)\nw.tell_supervisor(w.SERVING)\nwhile True: pass"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker = subprocess.Popen([sys.executable, "-c", script], stdin=theirs.fileno())
        theirs.close()
        assert ours.recv(100) == b"serving"
        ours.close()
        assert worker.wait(PATIENCE) == -signal.SIGKILL


async def test_workers_that_are_only_starting_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    with Command(tmp_path, *TWO, "--nats", NOWHERE) as command:
        await until(lambda: len(children(command._process.pid)) == 2)
        workers = children(command._process.pid)
        command.signal(signal.SIGKILL)
        await until(lambda: not any(map(lives, workers)))


def test_a_terminal_that_is_closed_stops_the_service_in_good_order(tmp_path: Path) -> None:
    with run(tmp_path, *LISTEN) as command:
        address = command.line(r"ws://(127.0.0.1:\d+)/tenants/")
        with Command(tmp_path, "join", f"ws://{address}/tenants/acme") as peer:
            peer.line("you are")
            assert command.stop(signal.SIGHUP) == 0
            peer.line("service restart")
        assert "Traceback" not in command.output


@pytest.mark.parametrize("arguments", [LISTEN, (*TWO, "--nats", NOWHERE)])
def test_with_nohup_it_goes_on(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with run(tmp_path, *arguments, hangup=signal.SIG_IGN) as command:
        address = command.line(r"ws://(127.0.0.1:\d+)/tenants/")
        command.signal(signal.SIGHUP)
        for _ in range(5):
            urlopen(f"http://{address}/healthz", timeout=PATIENCE).close()
        assert command.stop(signal.SIGTERM) in (0, -signal.SIGTERM)


def test_a_reason_with_a_name_that_is_not_utf_8_is_told_in_one_line(tmp_path: Path) -> None:
    missing = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    files = ("--tls-certificate", missing, "--tls-key", missing)
    with Command(tmp_path, *TWO, "--nats", NOWHERE, *files) as command:
        assert command.end() == 1
        (line,) = command.output.splitlines()
        assert line.startswith("wg-orchestrator: can't use ")


async def test_a_reason_that_is_cut_within_a_character_is_told() -> None:
    with pytest.raises(WorkerCannotStart, match=r"^n"):
        await supervise([("/bin/sh", "-c", r"printf 'n\303' >&0; exit 1")])


def test_the_workers_share_what_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wg_orchestrator.server.memory.memory_limit", lambda: 1000)
    settings = Settings(host="127.0.0.1", port=0, workers=4, nats_url=NOWHERE, _env_file=None)
    server = Server(Container(settings=providers.Object(settings)))
    server._context.gate.measure_memory(200)
    assert not server._context.gate.memory_is_full
    server._context.gate.measure_memory(201)
    assert server._context.gate.memory_is_full
