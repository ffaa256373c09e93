"""How an agent begins and ends, and what it leaves on its machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agents import Service, until
from harness.namespaces import Internet, Machine
from tests.network.conftest import NewPeer


def _pids(machine: Machine, program: str) -> list[int]:
    pids = map(
        int, subprocess.run(["ip", "netns", "pids", machine.name], capture_output=True, text=True).stdout.split()
    )
    return [pid for pid in pids if program in Path(f"/proc/{pid}/comm").read_text()]


def test_down_takes_everything_back(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    assert one.ask("down").returncode == 0
    assert one.process is not None
    assert one.process.wait(10) == 0
    assert not one.has_interface()
    assert "100.64.0.0/10" not in one.machine.run("ip", "route")
    until(lambda: two.status()["peers"] == [], "the leave")
    until(lambda: _pids(one.machine, "wireguard-go") == [], "the end of the program")
    for command in ("down", "status", "ping-all"):
        assert one.ask(command).returncode == 4
    kept = sorted(path.name for path in one.state.iterdir())
    assert kept == [f"{one.interface}.{what}" for what in ("key", "lock", "session")]


def test_a_machine_that_comes_again_has_its_key_and_its_address(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    address, key = one.virtual_ip, one.status()["public_key"]
    assert one.end() == 0
    one.start()
    one.ping(two)
    assert (one.virtual_ip, one.status()["public_key"]) == (address, key)


def test_with_keep_the_tunnels_outlive_the_agent(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one", "--keep"), new_peer(internet.public("two"), "two")
    one.ping(two)
    pinging = one.pinging(two)
    assert one.end() == 0
    assert one.has_interface()
    assert [peer["display_name"] for peer in two.status()["peers"]] == ["one"]
    one.start()
    until(one.is_connected, "the return")
    assert "back in" in two.log() or "in as" in one.log()
    assert pinging.end().lost == 0
    assert one.end() == 0
    # What an agent has left is taken down without one.
    assert one.ask("down").returncode == 0
    assert not one.has_interface()


def test_an_interface_whose_program_was_killed_is_made_anew(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    (program,) = _pids(one.machine, "wireguard-go")
    os.kill(program, signal.SIGKILL)
    until(lambda: "making it anew" in one.log(), "the notice")
    one.ping(two)
    two.ping(one)


def test_an_interface_that_was_removed_by_hand_is_made_anew(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    one.machine.run("ip", "link", "delete", one.interface)
    until(lambda: "making it anew" in one.log(), "the notice")
    one.ping(two)


def test_a_second_agent_for_one_interface_is_refused(internet: Internet, new_peer: NewPeer) -> None:
    one = new_peer(internet.public("one"), "one")
    assert one.virtual_ip
    again = one.ask("up", one.url)
    assert (again.returncode, "already" in again.stderr) == (1, True)
    assert one.status()["connected"]


def test_a_second_agent_with_another_state_directory_is_refused_too(
    internet: Internet, new_peer: NewPeer, tmp_path: Path
) -> None:
    one = new_peer(internet.public("one"), "one")
    assert one.virtual_ip
    elsewhere = [sys.executable, "-m", "wg_orchestrator"]
    where = ["--interface", one.interface, "--state-dir", str(tmp_path / "other")]
    for words in (["up", one.url], ["down"]):
        command = one.machine.command(*elsewhere, *words, *where)
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert (answer.returncode, "already" in answer.stderr) == (1, True), answer.stderr
    assert one.has_interface()
    assert one.status()["connected"]


def test_an_interface_that_was_set_down_by_hand_is_set_up_again(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    one.machine.run("ip", "link", "set", one.interface, "down")
    one.ping(two)


def test_the_interface_of_a_long_url_is_known_again(internet: Internet, service: Service, new_peer: NewPeer) -> None:
    long = f"{service.url()}?{'x' * 300}"
    one = new_peer(internet.public("one"), "one", "--keep", url=long)
    address = one.virtual_ip
    assert one.end() == 0
    one.start()
    until(one.is_connected, "the return")
    assert one.virtual_ip == address


def test_a_machine_with_more_changes_than_it_can_hear_of_goes_on(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    os.kill(one.pid, signal.SIGSTOP)
    addresses = [f"10.77.{number // 250}.{number % 250 + 1}/32" for number in range(3000)]
    steps = "".join(f"address {step} {address} dev lo\n" for address in addresses for step in ("add", "del"))
    subprocess.run(one.machine.command("ip", "-batch", "-"), input=steps, text=True, check=True)
    os.kill(one.pid, signal.SIGCONT)
    one.machine.run("ip", "address", "flush", "dev", "eth0", "scope", "global")
    one.machine.set_address("eth0", "198.51.100.201/24")
    until(lambda: one.is_connected() and "198.51.100.201" in str(two.status()), "the new address")


def test_status_and_ping_all_say_the_same_as_json_and_as_a_table(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    until(lambda: one.path_to(two)[0] == "lan", "the path")
    status = one.status()
    assert list(status) == ["interface", "public_key", "virtual_ip", "network", "connected", "revision", "peers"]
    (peer,) = status["peers"]
    assert list(peer) == [
        "display_name", "public_key", "virtual_ip", "endpoint", "path", "reason", "latest_handshake", "rx_bytes",
        "tx_bytes",
    ]  # fmt: skip
    assert (peer["virtual_ip"], peer["reason"], type(peer["latest_handshake"])) == (two.virtual_ip, None, int)
    (answer,) = json.loads(one.ask("ping-all", "--json").stdout)
    assert list(answer) == ["display_name", "public_key", "virtual_ip", "answered", "seconds"]
    assert (answer["answered"], 0 < answer["seconds"] < 3) == (True, True)
    assert two.virtual_ip in one.ask("status").stdout
    assert "ms" in one.ask("ping-all").stdout


def test_ping_all_says_who_is_silent(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    two.machine.run("ip", "link", "set", "eth0", "down")
    silent = one.ask("ping-all", "--json")
    assert (silent.returncode, json.loads(silent.stdout)[0]["answered"]) == (1, False)
    two.machine.run("ip", "link", "set", "eth0", "up")
    one.ping(two)


@pytest.fixture
def hosts(internet: Internet) -> Iterator[tuple[Machine, Path]]:
    """A machine with a hosts file of its own."""
    machine = internet.public("named")
    folder = Path("/etc/netns") / machine.name
    folder.mkdir(parents=True)
    file = folder / "hosts"
    file.write_text("127.0.0.1 localhost\n192.0.2.1 two.acme # by hand\n")
    yield machine, file
    file.unlink()
    folder.rmdir()


def test_with_hosts_peers_have_names_and_take_no_others(
    internet: Internet, hosts: tuple[Machine, Path], new_peer: NewPeer
) -> None:
    machine, file = hosts
    before = file.read_text()
    one = new_peer(machine, "one", "--hosts")
    two = new_peer(internet.public("two"), "Two")
    one.ping(two)
    until(lambda: f"{two.virtual_ip}\ttwo-2.acme\n" in file.read_text(), "the name")
    assert file.read_text().startswith(before)
    one.ping("two-2.acme")
    assert one.end() == 0
    assert file.read_text() == before


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8])
def test_at_whatever_moment_it_is_told_to_end_nothing_is_left(
    delay: float, internet: Internet, new_peer: NewPeer
) -> None:
    one = new_peer(internet.public("one"), "one")
    time.sleep(delay)
    # -15: it was still being loaded.
    assert one.end() in (0, -15), one.log()
    assert not one.has_interface()
    until(lambda: _pids(one.machine, "wireguard-go") == [], "the end of the program")


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    words = ["unit", "wss://x/tenants/acme", "--name", "a b", "--interface", "wg7"]
    words = [sys.executable, "-m", "wg_orchestrator", *words]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert ' up wss://x/tenants/acme --name "a b" --interface wg7\n' in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd here")
    unit = tmp_path / "wg-orchestrator.service"
    unit.write_text(text)
    answer = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
