from ipaddress import ip_network
from typing import Any

import pytest

from wg_orchestrator.server.gate import (
    BUSY,
    CUT,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_HANDSHAKES,
    Gate,
)
from wg_orchestrator.settings import GateLimits

PROXIES = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def a_gate(max_files: int = 1024, **limits: Any) -> Gate:
    return Gate(GateLimits(**limits), max_files)


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), *((b"x-forwarded-for", value.encode("latin-1")) for value in values)]


def test_a_gate_is_full_beyond_its_connections_until_one_leaves() -> None:
    gate = a_gate(max_connections=2)
    for _ in range(2):
        assert gate.enter(10)
        assert not gate.is_full(10)
    gate.enter(10)
    assert gate.is_full(10)
    gate.leave()
    assert not gate.is_full(10)


def test_beyond_those_that_can_be_told_so_connections_are_cut() -> None:
    gate = a_gate(max_connections=2)
    assert [gate.enter(10) for _ in range(200)].count(True) == 2 + 128


@pytest.mark.parametrize(("max_files", "room", "at_all"), [(1024, 896, 992), (100, 75, 94)])
def test_the_last_file_numbers_are_for_telling_newcomers_that_there_is_no_room(
    max_files: int, room: int, at_all: int
) -> None:
    gate = a_gate(max_files)
    assert [gate.is_full(number) for number in (room - 1, room)] == [False, True]
    assert [gate.enter(number) for number in (at_all - 1, at_all)] == [True, False]


def test_a_gate_is_full_while_memory_is() -> None:
    gate = a_gate(max_memory=1000)
    gate.measure_memory(1001)
    assert gate.is_full(10)
    gate.measure_memory(1000)
    assert not gate.is_full(10)
    unlimited = a_gate()
    unlimited.measure_memory(2**60)
    assert not unlimited.is_full(10)


def test_connections_are_counted_by_source_if_there_is_a_limit() -> None:
    gate = a_gate(max_connections_per_source=2)
    verdicts = [gate.count("192.0.2.1") for _ in range(5)]
    assert verdicts == [None, None, TOO_MANY_CONNECTIONS, TOO_MANY_CONNECTIONS, CUT]
    assert gate.count("192.0.2.2") is None
    for _ in range(4):
        gate.discount("192.0.2.1")
    assert gate.count("192.0.2.1") is None
    assert [a_gate().count("192.0.2.1") for _ in range(100)] == [None] * 100


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_the_addresses_of_one_site_are_one_source(one: str, other: str, same: bool) -> None:
    gate = a_gate(max_connections_per_source=1)
    gate.count(one)
    assert (gate.count(other) is TOO_MANY_CONNECTIONS) == same


def test_nothing_is_kept_of_a_source_that_is_gone() -> None:
    gate = a_gate(max_connections_per_source=1, max_handshake_rate_per_source=1)
    for number in range(100):
        gate.count(f"192.0.2.{number}")
        gate.handshake(f"192.0.2.{number}", 0)
        gate.discount(f"192.0.2.{number}")
    assert len(gate._by_source) == 0
    gate.handshake("192.0.2.1", 11)
    gate.handshake("192.0.2.1", 22)
    assert len(gate._handshakes_by_source) == 1


def test_handshakes_are_limited_by_source() -> None:
    gate = a_gate(max_handshake_rate_per_source=0.2)
    assert [gate.handshake("a", 1.0) for _ in range(3)] == [None, None, TOO_MANY_HANDSHAKES]
    assert gate.handshake("b", 1.0) is None
    assert gate.handshake("a", 12.0) is None


def test_handshakes_are_limited_in_all() -> None:
    gate = a_gate(max_handshake_rate=0.3)
    assert [gate.handshake("a", 1.0) for _ in range(4)] == [None, None, None, BUSY]
    assert gate.handshake("a", 5.0) is None
    unlimited = a_gate(max_handshake_rate=0)
    assert [unlimited.handshake("a", 1.0) for _ in range(100)] == [None] * 100


def test_one_source_that_uses_up_the_handshakes_keeps_no_other_from_its_own() -> None:
    gate = a_gate(max_handshake_rate=100)
    now, refused = 1.0, {"greedy": 0, "modest": 0}
    for _ in range(300):
        for source, times in (("greedy", 30), ("modest", 1)):
            refused[source] += [gate.handshake(source, now) for _ in range(times)].count(BUSY)
            now += 0.05
    assert refused["modest"] == 0
    # The greedy one gets what is left of the rate: of a burst of 1,000, and of 100 handshakes in each of 30 seconds.
    assert 300 * 30 - refused["greedy"] == pytest.approx(1000 + 30 * 100 - 300, rel=0.1)


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["203.0.113.1, 192.0.2.7"], "192.0.2.7"),  # The client itself may have written the first one.
        (["203.0.113.1", "192.0.2.7, 10.1.2.3"], "192.0.2.7"),
        (["192.0.2.7:4711, 10.1.2.3"], "192.0.2.7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        (["192.0.2.7, nonsense, 10.1.2.3"], "10.1.2.3"),
        (["\xe4"], None),
        ([""], None),
        ([], None),
    ],
)
def test_a_forwarded_client_is_the_last_that_is_no_trusted_proxy(values: list[str], client: str | None) -> None:
    assert a_gate(trusted_proxies=PROXIES).forwarded(forwarded(*values)) == client


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("::1", True), ("192.0.2.1", False), ("", False)],
)
def test_only_listed_proxies_are_trusted(address: str, trusted: bool) -> None:
    assert a_gate(trusted_proxies=PROXIES).trusts(address) == trusted
    assert not a_gate().trusts(address)


def test_handshakes_that_waited_for_a_stall_to_end_are_not_too_many() -> None:
    gate = a_gate(max_handshake_rate=1)
    assert [gate.handshake("a", 1.0) for _ in range(10)] == [None] * 10
    assert [gate.handshake("a", 1.0, stalled=20.0) for _ in range(21)] == [None] * 20 + [BUSY]


@pytest.mark.parametrize("max_files", [1024, 100_000])
def test_the_last_eighth_of_the_room_is_crowded(max_files: int) -> None:
    gate = a_gate(max_files, max_connections=80)
    crowded = []
    for _ in range(80):
        gate.enter(10)
        crowded.append(gate.is_crowded(10))
    assert crowded == [False] * 70 + [True] * 10
    assert not a_gate(1024).is_crowded(783)
    assert a_gate(1024).is_crowded(784)  # There is room for 896 files.


def test_without_memory_left_there_is_a_crowd() -> None:
    gate = a_gate(max_memory=1000)
    gate.measure_memory(1001)
    assert gate.is_crowded(10)


def test_what_is_taken_between_two_measurements_counts_as_far_as_it_is_in_use() -> None:
    gate, used = a_gate(max_memory=1000), [900]
    gate.read_memory = lambda: used[-1]
    gate.measure_memory(used[-1])
    used.append(1100)
    gate.take_memory(50)
    assert not gate.is_full(10)  # 900 + 50 can't exceed the limit, so the gate has not measured.
    gate.take_memory(51)
    assert gate.is_full(10)
    used.append(990)
    gate.measure_memory(used[-1])
    used.append(980)
    gate.take_memory(500)  # The gate measures: these bytes have gone to the kernel already.
    assert not gate.is_full(10)
