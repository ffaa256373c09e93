"""The contract of the port Challenger, for WireGuard's handshake; the owner is an implementation that is not ours."""

import base64
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from harness.wireguard_peer import Peer
from tests.contracts.challenger import ChallengerContract
from wg_orchestrator.adapters.rendezvous.challenger import UdpChallenger
from wg_orchestrator.adapters.rendezvous.key_file import private_key
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.ports import Challenge, Challenger
from wg_orchestrator.settings.unusable import Unusable
from wg_orchestrator.telemetry.telemetry import Telemetry

INITIATIONS = 30


class TestUdpChallenger(ChallengerContract):
    @pytest.fixture
    def challenger(self) -> Challenger:
        self.owner = Peer(bytes(32))
        self.sessions: dict[str, Peer] = {}
        self.stamp = 0
        return UdpChallenger(os.urandom(32), "127.0.0.1", 51820, (), Telemetry(100))

    @property
    def key(self) -> PublicKey:
        return PublicKey(base64.b64encode(self.owner.public_key).decode())

    def prove(self, challenger: Challenger, challenge: Challenge, at: Endpoint) -> None:
        assert isinstance(challenger, UdpChallenger)
        core = challenger._core
        peer = self.sessions.get(challenge.preshared_key)
        if peer is None:
            rendezvous, preshared_key = map(base64.b64decode, (challenge.rendezvous.text, challenge.preshared_key))
            peer = Peer(rendezvous, preshared_key, self.owner.private_key)
            for _ in range(INITIATIONS):
                peer._stamp = self.stamp = self.stamp + 1
                with suppress(InvalidTag, ValueError):
                    for answer in core.datagram(peer.initiation(), lambda: at):
                        peer.take(answer)
                        self.sessions[challenge.preshared_key] = peer
                if challenge.preshared_key in self.sessions:
                    break
            else:
                return
        core.datagram(peer.transport(), lambda: at)


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        challenger = UdpChallenger(os.urandom(32), "127.0.0.1", port, (), Telemetry(100))
        with pytest.raises(Unusable, match=f"can't use UDP port {port} .* in use"):
            async with challenger.running():
                pass


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", "127.0.0.1")])
async def test_it_picks_a_free_port_and_names_that(host: str, address: str) -> None:
    challenger = UdpChallenger(os.urandom(32), host, 0, (), Telemetry(100))
    async with challenger.running():
        assert challenger.port > 0
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe, pytest.raises(OSError, match="in use"):
            probe.bind((address, challenger.port))


def test_a_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "rendezvous.key"
    key = private_key(path)
    assert (len(key), private_key(path)) == (32, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert base64.b64decode(path.read_text()) == key
    assert [file.name for file in tmp_path.iterdir()] == ["rendezvous.key"]
    assert private_key(None) != private_key(None)


def test_a_key_that_is_none_or_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for text in ("", "x", base64.b64encode(bytes(31)).decode()):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(Unusable, match="no WireGuard private key"):
            private_key(path)
    path.write_text(base64.b64encode(bytes(32)).decode())
    path.chmod(0o640)
    with pytest.raises(Unusable, match="open to others"):
        private_key(path)
    with pytest.raises(Unusable, match="can't use"):
        private_key(tmp_path / "missing" / "key")
