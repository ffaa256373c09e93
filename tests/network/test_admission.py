"""Machines that come in by the command that `invite` prints, and are put out by `revoke`."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.agents import PATIENCE, Peer, Service, until
from harness.namespaces import Internet, Machine


def command(folder: Path, *words: str) -> list[str]:
    """The lines that a command prints."""
    ended = subprocess.run(
        [sys.executable, "-m", "wg_orchestrator", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return ended.stdout.splitlines()


@pytest.fixture
def service(internet: Internet, tmp_path: Path) -> Iterator[Service]:
    command(tmp_path, "keygen", "invite.key")
    options = ("--invitation-keys", str(tmp_path / "invite.key.pub"), "--state", str(tmp_path / "state"))
    service = Service(internet.public("server"), tmp_path, *options)
    yield service.start()
    service.kill()


Invite = Callable[..., Peer]


@pytest.fixture
def paste(service: Service, tmp_path: Path) -> Iterator[Invite]:
    """Invites a machine, and runs there what `invite` prints."""
    peers: list[Peer] = []

    def run(machine: Machine, name: str, *options: str) -> Peer:
        url = f"ws://{service.host}:{service.port}"
        token, line = command(tmp_path, "invite", "--key", "invite.key", "--tenant", "acme", "--url", url, *options)
        program, up, tenant_url, *shown = shlex.split(line)
        assert (program, up, shown) == ("wg-orchestrator", "up", ["--invitation", token])
        peer = Peer(machine, name, tenant_url, tmp_path, *shown)
        peers.append(peer)
        return peer.start()

    yield run
    for peer in peers:
        if peer.process is not None:
            peer.process.kill()
            peer.process.wait()
        peer.clean()


def test_who_is_invited_pings_who_is_not_does_not_and_who_is_revoked_loses_its_tunnels(
    internet: Internet, service: Service, paste: Invite, tmp_path: Path
) -> None:
    one = paste(internet.public("one"), "one", "--uses", "1")
    two = paste(internet.public("two"), "two", "--uses", "1", "--name", "printer")
    until(lambda: [peer["display_name"] for peer in one.status()["peers"]] == ["printer"], "the printer")
    one.ping(two)
    two.ping(one)
    stranger = Peer(internet.public("stranger"), "stranger", service.url(), tmp_path)
    third = Peer(internet.public("third"), "third", service.url(), tmp_path, "--invitation", shown(one))
    try:
        for peer, why in ((stranger, "HTTP 401"), (third, "used up (4507)")):
            peer.start()
            assert peer.process is not None
            assert peer.process.wait(PATIENCE) == 3
            assert why in peer.log()
    finally:
        stranger.clean()
        third.clean()
    # A machine comes back by the invitation that it came with.
    address = two.virtual_ip
    two.kill()
    two.start()
    assert two.virtual_ip == address
    two.ping(one)
    key = two.status()["public_key"]
    line, *_ = command(tmp_path, "revoke", "--public-key", key, "--state", "state")
    assert "1 put out, known to 1 nodes, applied by 1 of 1 since " in line
    assert one.status()["peers"] == []
    assert two.process is not None
    assert two.process.wait(PATIENCE) == 3
    assert "revoked (4506)" in two.log()
    interfaces = subprocess.run(two.machine.command("ip", "link"), capture_output=True, text=True, check=True).stdout
    assert two.interface not in interfaces
    two.start()
    assert two.process.wait(PATIENCE) == 3
    assert shown(one) not in one.log() + two.log()


def shown(peer: Peer) -> str:
    """The token that a machine was started with."""
    return peer._options[-1]
