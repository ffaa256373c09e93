"""What a machine, or a service, may do to an agent: each is said clearly, and nothing is left behind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.agents import Peer, Service, until
from harness.certificates import write_certificate
from harness.namespaces import Internet, Machine
from tests.network.conftest import NewPeer


@pytest.fixture
def machine(internet: Internet) -> Machine:
    return internet.public("one")


@pytest.fixture
def peer(machine: Machine, service: Service, tmp_path: Path) -> Iterator[Peer]:
    """An agent that is not started."""
    peer = Peer(machine, "one", service.url(), tmp_path)
    yield peer
    if peer.process is not None:
        peer.kill()
    peer.clean()


def _a_port_that_is_taken(peer: Peer) -> None:
    code = "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 51820)); time.sleep(60)"
    peer.process = peer.machine.start(sys.executable, "-c", code)
    until(lambda: ":51820" in peer.machine.run("ss", "-Hlun"), "the socket")


def _a_foreign_interface_of_that_name(peer: Peer) -> None:
    peer.machine.run("ip", "link", "add", peer.interface, "type", "bridge")


def _an_interface_of_another_tenant(peer: Peer) -> None:
    peer.machine.run("ip", "link", "add", peer.interface, "type", "bridge")
    peer.machine.run("ip", "link", "set", peer.interface, "alias", "wg-orchestrator ws://other/tenants/x")


def _an_address_in_the_tenants_network(peer: Peer) -> None:
    peer.machine.set_address("eth0", "100.64.7.1/24")


def _a_route_into_the_tenants_network(peer: Peer) -> None:
    peer.machine.run("ip", "route", "add", "100.64.9.0/24", "dev", "eth0")


def _a_gateway_in_the_tenants_network(peer: Peer) -> None:
    # Both are on the link, but the kernel knows of no network there.
    peer.machine.run("ip", "route", "add", "192.0.2.0/24", "via", "100.64.9.1", "dev", "eth0", "onlink")


def _a_state_directory_that_is_a_file(peer: Peer) -> None:
    peer.state.write_text("")


def _a_state_directory_of_another_user(peer: Peer) -> None:
    peer.state.mkdir()
    os.chown(peer.state, 65534, 65534)


def _a_key_that_is_none(peer: Peer) -> None:
    peer.state.mkdir(mode=0o700)
    (peer.state / f"{peer.interface}.key").write_text("not a key\n")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (_a_port_that_is_taken, "can't use UDP port 51820: Address already in use"),
        (_a_foreign_interface_of_that_name, "is there and is not ours"),
        (_an_interface_of_another_tenant, "belongs to ws://other/tenants/x"),
        (_an_address_in_the_tenants_network, "eth0 has the address 100.64.7.1/24"),
        (_a_route_into_the_tenants_network, "the route to 100.64.9.0/24 by eth0"),
        (_a_gateway_in_the_tenants_network, "the gateway 100.64.9.1 of eth0"),
        (_a_state_directory_that_is_a_file, "can't use the state directory"),
        (_a_state_directory_of_another_user, "belongs to another user"),
        (_a_key_that_is_none, "has no private key in it"),
    ],
)
def test_the_environment_is_refused_by_name(prepare: Callable[[Peer], None], said: str, peer: Peer) -> None:
    prepare(peer)
    before = peer.machine.run("ip", "-d", "link", "show"), peer.machine.run("ip", "route")
    answer = peer.ask("up", peer.url)
    assert (answer.returncode, said in answer.stderr) == (1, True), answer.stderr
    assert len(answer.stderr.splitlines()) <= 2, answer.stderr
    assert (peer.machine.run("ip", "-d", "link", "show"), peer.machine.run("ip", "route")) == before


def test_without_wireguard_it_says_what_to_install(peer: Peer, tmp_path: Path) -> None:
    for program in ("ip", "ss"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    words = peer.machine.command("env", f"PATH={tmp_path}", *peer.words("up", peer.url))
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    if "in as" in answer.stderr:
        pytest.skip("the kernel has WireGuard")
    assert (answer.returncode, "wireguard-go" in answer.stderr) == (1, True), answer.stderr


def test_without_rights_it_says_which_are_needed(peer: Peer) -> None:
    words = peer.machine.command(
        "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *peer.words("up", peer.url)
    )
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (answer.returncode, "CAP_NET_ADMIN" in answer.stderr) == (1, True), answer.stderr


def test_it_need_not_be_root_with_the_one_capability_that_the_unit_gives(
    internet: Internet, service: Service, new_peer: NewPeer, tmp_path: Path
) -> None:
    other = new_peer(internet.public("two"), "two")
    peer = Peer(internet.public("one"), "one", service.url(), Path("/run/wireguard/state"))
    # What systemd does by the unit: a user without rights, with directories of its own and a device that it may open.
    lesser = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs"
    one_right = "--inh-caps=-all,+net_admin --ambient-caps=-all,+net_admin --bounding-set=-all,+net_admin"
    tries = subprocess.run([*lesser.split(), sys.executable, "-c", ""], capture_output=True, check=False)
    if tries.returncode != 0:
        pytest.skip("only root can run this Python")
    script = f"""
        set -e
        mkdir -p /run/wireguard; mount -t tmpfs -o mode=755,uid=65534,gid=65534 tmpfs /run/wireguard
        mknod -m 666 {tmp_path}/tun c 10 200; mount --bind {tmp_path}/tun /dev/net/tun
        exec {lesser} {one_right} "$@"
    """
    words = peer.words("up", peer.url, "--name", "one")
    log = tmp_path / "log"
    with log.open("w") as output:
        process = peer.machine.start("sh", "-c", script, "sh", *words, stdout=output, stderr=output)
    try:
        until(lambda: "in as" in log.read_text() or process.poll() is not None, "the place")
        assert "in as" in log.read_text(), log.read_text()
        address = log.read_text().partition("in as ")[2].partition(";")[0]
        other.ping(address)
        rights = Path(f"/proc/{process.pid}/status").read_text()
        assert f"CapEff:\t{1 << 12:016x}\n" in rights
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert not peer.has_interface()


def test_loose_rights_are_tightened(peer: Peer) -> None:
    peer.state.mkdir(mode=0o755)
    peer.state.chmod(0o755)
    peer.start()
    assert peer.virtual_ip
    key = peer.state / f"{peer.interface}.key"
    assert (peer.state.stat().st_mode & 0o777, key.stat().st_mode & 0o777) == (0o700, 0o600)
    secret = key.read_text().strip()
    assert secret not in peer.log()
    assert peer.process is not None
    assert secret not in Path(f"/proc/{peer.process.pid}/cmdline").read_text()
    assert peer.end() == 0


@pytest.mark.parametrize(
    "url", ["http://x/tenants/a", "ws://x", "ws://x/a", "ws:///tenants/a", "ws://x:99999/tenants/a", "x"]
)
def test_a_wrong_url_is_a_usage_error(peer: Peer, url: str) -> None:
    assert peer.ask("up", url).returncode == 2


@pytest.mark.parametrize("endpoint", ["x", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "127.0.0.1:51820"])
def test_an_endpoint_that_is_none_is_a_usage_error(peer: Peer, endpoint: str) -> None:
    answer = peer.ask("up", peer.url, "--endpoint", endpoint)
    assert (answer.returncode, "--endpoint" in answer.stderr) == (2, True), answer.stderr


def test_what_the_service_refuses_for_good_ends_it(peer: Peer, service: Service) -> None:
    answer = peer.ask("up", service.url("no%20tenant"))
    assert (answer.returncode, "refused: HTTP" in answer.stderr) == (3, True), answer.stderr
    assert not peer.has_interface()


def test_a_bad_name_is_refused_for_good(peer: Peer) -> None:
    answer = peer.ask("up", peer.url, "--name", "two\nlines")
    assert (answer.returncode, "bad display name" in answer.stderr) == (3, True), answer.stderr


def test_a_certificate_that_is_not_trusted_is_said_and_tried_again(
    internet: Internet, machine: Machine, tmp_path: Path
) -> None:
    certificate, key = write_certificate(tmp_path, "localhost")
    service = Service(
        internet.public("tls"), tmp_path, "--tls-certificate", str(certificate), "--tls-key", str(key), port=8443
    ).start()
    peer = Peer(machine, "one", service.url().replace("ws:", "wss:"), tmp_path).start()
    try:
        until(lambda: "certificate verify failed" in peer.log(), "the complaint")
        assert "trying again" in peer.log()
        assert peer.end() == 0
    finally:
        service.kill()
        peer.clean()


LIE = Path(__file__).with_name("liar.py")


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("not json", "breaks the protocol"),
        ("own address", "breaks the protocol"),
        ("own key", ""),
        ("outside", ""),
        ("bad endpoints", ""),
        ("port 0", "breaks the protocol"),
        ("whole internet", "network 0.0.0.0/0 has public addresses"),
        ("public network", "network 8.8.8.0/24 has public addresses"),
        ("machine's own network", "is in the tenant's network 198.51.0.0/16"),
        ("address outside", "is not in"),
        ("escapes", ""),
    ],
)
def test_a_service_that_lies_harms_nothing(
    lie: str, said: str, internet: Internet, machine: Machine, new_peer: NewPeer, tmp_path: Path
) -> None:
    liar = internet.public("liar")
    process = liar.start(sys.executable, str(LIE), lie)
    try:
        until(lambda: ":8000" in liar.run("ss", "-Hltn"), "the liar")
        routes = machine.run("ip", "route")
        host = Service(liar, tmp_path).host
        leave = ["--public-network"] if lie == "machine's own network" else []
        peer = new_peer(machine, "one", *leave, url=f"ws://{host}:8000/tenants/acme")
        if said:
            until(lambda: said in peer.log(), said)
            assert machine.run("ip", "route") == routes
        else:
            assert peer.virtual_ip == "100.64.0.1"
            until(lambda: len(peer.status()["peers"]) == 1, "the honest peer")
            assert peer.status()["peers"][0]["virtual_ip"] == "100.64.0.2"
            assert "\x1b" not in peer.ask("status").stdout + peer.log()
        # The machine still reaches whom it reached before.
        assert machine.run("ping", "-c", "1", "-W", "2", host)
    finally:
        process.kill()
        process.wait()
