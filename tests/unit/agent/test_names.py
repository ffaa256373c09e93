"""Names of peers in the hosts file, and what a machine says of where it is."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import a_peer
from tests.unit.agent.builders import endpoints, here
from wg_orchestrator.agent.announced import announced
from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.agent.host_names import host_label, host_names
from wg_orchestrator.agent.hosts_file import HostsFile
from wg_orchestrator.domain.peer import DisplayName, Peer


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("laptop", "laptop"), ("My Laptop", "my-laptop"), ("Büro", "buro"), ("a.b_c", "a-b-c"), ("--x--", "x"),
        ("猫", ""), ("\x1b[2J", "2j"), ("a\n127.0.0.1 evil", "a-127-0-0-1-evil"), ("x" * 100, "x" * 63), ("", ""),
    ],
)  # fmt: skip
def test_any_name_becomes_a_host_name(name: str, label: str) -> None:
    assert host_label(name) == label


def named(number: int, name: str) -> Peer:
    return replace(a_peer(number), display_name=DisplayName(name))


def test_a_second_peer_of_that_name_has_a_number_by_the_order_of_addresses() -> None:
    peers = [named(3, "laptop"), named(1, "Laptop"), named(2, "laptop-2"), named(4, "猫")]
    names = [(str(address), name) for address, name in host_names(peers, "acme")]
    assert names == [
        ("100.64.0.1", "laptop.acme"),
        ("100.64.0.2", "laptop-2.acme"),
        ("100.64.0.3", "laptop-3.acme"),
        ("100.64.0.4", "peer.acme"),
    ]


def test_a_name_that_stands_already_is_not_taken() -> None:
    ((_, name),) = host_names([named(1, "laptop")], "acme", {"LAPTOP.acme"})
    assert name == "laptop-2.acme"


def test_a_thousand_peers_of_one_long_name_have_different_names() -> None:
    names = [name for _, name in host_names([named(number % 250, "x" * 80) for number in range(1, 200)], "acme")]
    assert len(set(names)) == len(names)
    assert max(len(name.split(".")[0]) for name in names) == 63


BEFORE = "127.0.0.1 localhost\n# a comment\n192.0.2.1\tprinter printer.acme # by hand\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text(BEFORE)
    path.chmod(0o644)
    return path


ENTRIES = [(a_peer(1).virtual_ip, "laptop.acme")]


def test_names_stand_in_a_block_of_their_own_and_are_taken_out(file: Path) -> None:
    hosts = HostsFile("wgo0", file)
    hosts.write(ENTRIES)
    text = file.read_text()
    assert text.startswith(BEFORE)
    assert "100.64.0.1\tlaptop.acme\n" in text
    assert file.stat().st_mode & 0o777 == 0o644
    hosts.write([(a_peer(2).virtual_ip, "phone.acme")])
    assert "laptop" not in file.read_text()
    hosts.write([])
    assert file.read_text() == BEFORE
    assert [path.name for path in file.parent.iterdir()] == ["hosts"]


def test_two_interfaces_have_a_block_each(file: Path) -> None:
    HostsFile("wgo0", file).write(ENTRIES)
    HostsFile("wgo1", file).write([(a_peer(2).virtual_ip, "phone.beta")])
    HostsFile("wgo0", file).write([])
    assert "phone.beta" in file.read_text()
    assert "laptop" not in file.read_text()


def test_the_names_that_are_known_are_those_outside_of_the_block(file: Path) -> None:
    hosts = HostsFile("wgo0", file)
    hosts.write(ENTRIES)
    assert hosts.known() == {"localhost", "printer", "printer.acme"}


def test_a_block_whose_end_is_missing_takes_nothing_else_with_it(file: Path) -> None:
    hosts = HostsFile("wgo0", file)
    hosts.write(ENTRIES)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]) + "192.0.2.9 later\n")
    hosts.write([])
    assert "192.0.2.9 later" in file.read_text()


def test_a_file_that_is_mounted_by_itself_is_written_in_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    HostsFile("wgo0", file).write(ENTRIES)
    assert "laptop.acme" in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["hosts"]


def test_bytes_that_are_no_text_stay_as_they_are(file: Path) -> None:
    before = b"127.0.0.1 \xff\xfe\n192.0.2.1 dos\r\n192.0.2.2 \x0bodd \xc2\x85\n"
    file.write_bytes(before)
    hosts = HostsFile("wgo0", file)
    assert {"dos", "odd"} <= hosts.known()
    hosts.write(ENTRIES)
    assert file.read_bytes().startswith(before)
    hosts.write([])
    assert file.read_bytes() == before


def test_a_file_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="can't read"):
        HostsFile("wgo0", tmp_path).write(ENTRIES)


def test_what_the_owner_names_is_announced_first_then_public_then_private_addresses() -> None:
    at = here("10.1.0.2/24", "203.0.113.9/24", "fd00::2/64", "2001:db8::2/64")
    said = announced(at, 51820, endpoints("198.51.100.1:4000"))
    assert said == endpoints(
        "198.51.100.1:4000", "203.0.113.9:51820", "[2001:db8::2]:51820", "10.1.0.2:51820", "[fd00::2]:51820"
    )


def test_an_address_that_leads_nowhere_from_elsewhere_is_not_announced() -> None:
    assert announced(here("100.100.0.2/24", "10.1.0.2/24"), 51820, ()) == endpoints("10.1.0.2:51820")


def test_no_more_is_announced_than_the_protocol_allows_and_each_once() -> None:
    at = here(*(f"10.0.{number}.1/24" for number in range(20)))
    said = announced(at, 51820, endpoints("10.0.0.1:51820"))
    assert (len(said), len(set(said))) == (8, 8)
