from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed
from wg_orchestrator.domain.endpoint import Endpoint, passed_on
from wg_orchestrator.domain.errors import InvalidEndpoint

NETWORK = ip_network("100.64.0.0/10")
SOURCE = ip_address("198.51.100.7")


def judged(
    *texts: str, source: str | None = str(SOURCE), network: str = str(NETWORK), trusts_strangers: bool = False
) -> list[str]:
    """Those of the endpoints that are passed on, as texts."""
    own = None if source is None else ip_address(source)
    endpoints = [Endpoint.parse(text) for text in texts]
    return [str(endpoint) for endpoint in passed_on(endpoints, own, ip_network(network), trusts_strangers)]


@pytest.mark.parametrize(("text", "canonical"), [
    ("10.0.0.7:51820", "10.0.0.7:51820"), ("0.0.0.0:1", "0.0.0.0:1"), ("[fd00:1::7]:51820", "[fd00:1::7]:51820"),
    ("[FD00:0001:0:0::0007]:1", "[fd00:1::7]:1"), ("[::]:65535", "[::]:65535"),
    ("[fd00::10.0.0.7]:1", "[fd00::a00:7]:1"),
    ("10.0.0.7:0", "10.0.0.7:0"), ("10.0.0.7:65536", "10.0.0.7:65536"), ("10.0.0.7:99999", "10.0.0.7:99999"),
])  # fmt: skip
def test_an_ip_address_and_a_port_are_an_endpoint_with_one_canonical_text(text: str, canonical: str) -> None:
    assert str(Endpoint.parse(text)) == canonical
    assert Endpoint.parse(canonical) == Endpoint.parse(text)


@pytest.mark.parametrize("text", [
    "", ":", "x", "example.org:51820", "localhost:1", "10.0.0.7", "10.0.0.7:", "[fd00::7]", "[fd00::7]:", ":51820",
    "[]:51820", "fd00::7", "fd00::7:51820", "[10.0.0.7]:51820", "[fd00::7%eth0]:1", "[fe80::1%1]:1", "10.0.0.7%eth0:1",
    "10.0.0.7:-1", "10.0.0.7:+1", "10.0.0.7:1.0", "10.0.0.7:1e3", "10.0.0.7:0x50", "10.0.0.7:1_0", "10.0.0.7:http",
    "10.0.0.7:080", "10.0.0.7:00", "10.0.0.7:\u0661", "10.0.0.7:\uff11", " 10.0.0.7:1", "10.0.0.7:1 ", "10.0.0.7: 1",
    "10.0.0.7:1\n", "10.0.0.7 :1", "10.0.0.07:1", "010.0.0.7:1", "10.0.7:1", "10.0.0.7.1:1", "10.0.0.256:1",
    "167772167:1", "0x0a000007:1", "10.0.0.7:1:1", "10.0.0.7/32:1", "[fd00::7]:1:1", "[[fd00::7]]:1", "[fd00:::7]:1",
    "[fd00::g]:1", "[1:2:3:4:5:6:7]:1", "[fd00::07.0.0.1]:1",
    "udp://10.0.0.7:1", "10.0.0.7:1,10.0.0.8:1", "\ud800:1", "[\uff11::]:1",
])  # fmt: skip
def test_any_other_text_is_refused_as_an_endpoint(text: str) -> None:
    with pytest.raises(InvalidEndpoint):
        Endpoint.parse(text)


def test_a_port_of_very_many_digits_is_read_and_never_passed_on() -> None:
    endpoint = Endpoint.parse("10.0.0.7:1" + "0" * 100_000)
    assert endpoint.port > 65535
    assert passed_on([endpoint], SOURCE, NETWORK, trusts_strangers=True) == ()


PRIVATE = [
    "10.0.0.0:1", "10.255.255.255:65535", "172.16.0.1:1", "172.31.255.254:1", "192.168.0.1:51820", "[fc00::1]:1",
    "[fd00:1::7]:51820", "[fdff:ffff::1]:1",
]  # fmt: skip
STRANGERS = [
    "1.1.1.1:1", "9.255.255.255:1", "11.0.0.0:1", "172.15.255.255:1", "172.32.0.0:1", "192.167.255.255:1",
    "192.169.0.0:1", "100.63.255.255:1", "100.128.0.0:1", "198.17.255.255:1", "198.20.0.0:1", "223.255.255.255:1",
    "[2000::1]:1", "[2001:200::1]:1", "[2606:4700:4700::1111]:1", "[2001:db7::1]:1", "[2003::1]:1", "[3ffe::1]:1",
]  # fmt: skip
RESERVED = [
    "0.0.0.1:1", "0.255.255.255:1", "192.0.0.8:1", "192.0.2.1:1", "198.18.0.1:1", "198.19.255.255:1", "203.0.113.9:1",
    "198.51.100.8:1", "240.0.0.1:1", "255.255.255.254:1", "[::2]:1", "[::10.0.0.7]:1", "[::ffff:0:10.0.0.7]:1",
    "[100::1]:1", "[1fff::1]:1", "[2001::1]:1", "[2001:1ff::1]:1", "[2001:db8::1]:1", "[3fff::1]:1", "[4000::1]:1",
    "[5f00::1]:1", "[fec0::1]:1", "[fbff::1]:1",
]  # fmt: skip
NEVER = [
    "0.0.0.0:1", "127.0.0.1:1", "127.255.255.255:1", "169.254.0.1:1", "224.0.0.1:1", "239.255.255.255:1",
    "255.255.255.255:1", "100.64.0.1:1", "100.127.255.255:1", "192.88.99.1:1", "[::]:1", "[::1]:1", "[fe80::1]:1",
    "[febf::1]:1", "[ff02::1]:1", "[2002:a00:7::1]:1", "[2002:c633:6407::]:1", "[64:ff9b::10.0.0.7]:1",
    "[64:ff9b::198.51.100.7]:1", "[64:ff9b:1::1]:1", "[64:ff9b:1:ffff::1]:1",
]  # fmt: skip


def address_of(text: str) -> str:
    return str(Endpoint.parse(text).address)


def mapped(text: str) -> str:
    """The IPv4 endpoint `text`, with an IPv4-mapped IPv6 address."""
    address, _, port = text.partition(":")
    return f"[::ffff:{address}]:{port}"


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_of_a_private_network_is_passed_on(text: str) -> None:
    assert judged(text) == judged(text, source=None) == judged(text, trusts_strangers=True) == [text]


@pytest.mark.parametrize("text", STRANGERS)
def test_a_public_address_is_passed_on_only_if_strangers_are_trusted(text: str) -> None:
    assert judged(text) == judged(text, source=None) == []
    assert judged(text, trusts_strangers=True) == [text]


@pytest.mark.parametrize("text", RESERVED)
def test_a_reserved_address_is_dropped_even_if_strangers_are_trusted(text: str) -> None:
    assert judged(text) == judged(text, trusts_strangers=True) == []


@pytest.mark.parametrize("text", [*STRANGERS, *RESERVED, *PRIVATE])
def test_the_address_that_the_connection_comes_from_is_passed_on_with_any_port(text: str) -> None:
    own = Endpoint(Endpoint.parse(text).address, 7)
    assert judged(text, str(own), source=address_of(text)) == [str(Endpoint.parse(text)), str(own)]


@pytest.mark.parametrize("text", NEVER)
def test_some_addresses_are_never_passed_on(text: str) -> None:
    assert judged(text, source=address_of(text), trusts_strangers=True) == []


@pytest.mark.parametrize("text", [text for text in [*PRIVATE, *STRANGERS, *RESERVED, *NEVER] if "[" not in text])
@pytest.mark.parametrize("trusts_strangers", [False, True])
def test_a_mapped_address_is_judged_and_passed_on_as_ipv4(text: str, trusts_strangers: bool) -> None:
    assert judged(mapped(text), trusts_strangers=trusts_strangers) == judged(text, trusts_strangers=trusts_strangers)


def test_a_source_may_be_a_mapped_address() -> None:
    assert judged("198.51.100.7:1", source="::ffff:198.51.100.7") == ["198.51.100.7:1"]
    assert judged("[::ffff:198.51.100.7]:1") == ["198.51.100.7:1"]
    assert judged("127.0.0.1:1", source="::ffff:127.0.0.1") == []


def test_a_source_may_have_a_scope() -> None:
    assert judged("[fe80::1]:1", "10.0.0.7:1", source="fe80::1%eth0") == ["10.0.0.7:1"]


@pytest.mark.parametrize(("network", "inside", "outside"), [
    ("10.64.0.0/16", "10.64.0.1:1", "10.65.0.1:1"), ("10.64.0.0/16", "[::ffff:10.64.0.1]:1", "192.168.0.1:1"),
    ("fd00:9::/64", "[fd00:9::1]:1", "[fd00:9:0:1::1]:1"), ("198.51.100.0/24", "198.51.100.7:1", "10.0.0.1:1"),
    ("1.1.1.0/24", "1.1.1.1:1", "1.1.2.1:1"),
])  # fmt: skip
def test_addresses_of_the_tenants_network_are_never_passed_on(network: str, inside: str, outside: str) -> None:
    assert judged(inside, outside, network=network, trusts_strangers=True) == [outside]


@pytest.mark.parametrize("address", ["10.0.0.7", "[fd00::7]", "198.51.100.7", "1.1.1.1"])
@pytest.mark.parametrize("port", [0, 65536, 99999, 10**30])
def test_an_endpoint_without_a_valid_port_is_never_passed_on(address: str, port: int) -> None:
    assert judged(f"{address}:{port}", trusts_strangers=True) == []


def test_endpoints_keep_their_order_and_equal_ones_are_passed_on_once() -> None:
    texts = [
        "[fd00::7]:2",
        "[::ffff:10.0.0.7]:1",
        "1.1.1.1:1",
        "10.0.0.7:1",
        "10.0.0.7:2",
        "[FD00::0:7]:2",
        "10.0.0.6:1",
    ]
    assert judged(*texts) == ["[fd00::7]:2", "10.0.0.7:1", "10.0.0.7:2", "10.0.0.6:1"]


_TOLD = [Endpoint.parse(text) for text in [*PRIVATE, *STRANGERS, *RESERVED, *NEVER]]
_IPV4 = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address), st.sampled_from(_TOLD).map(lambda told: told.unmapped().address)
)
_IPV6 = st.one_of(
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.integers(0, 2**32 - 1).map(lambda number: IPv6Address(0xFFFF << 32 | number)),
    st.integers(0, 2**32 - 1).map(lambda number: IPv6Address((0x64FF9B << 96) | number)),
    st.builds(lambda net, host: IPv6Address(net << 112 | host), st.integers(0, 2**16 - 1), st.integers(0, 2**112 - 1)),
)
_ADDRESSES = st.one_of(_IPV4, _IPV6)
_ENDPOINTS = st.builds(Endpoint, _ADDRESSES, st.one_of(st.integers(1, 65535), st.integers(0, 70000)))


@fuzzed(1000)
@given(
    st.lists(_ENDPOINTS, max_size=8),
    _ADDRESSES,
    st.sampled_from([NETWORK, ip_network("10.0.0.0/9"), ip_network("fd00::/9")]),
)
def test_only_private_and_own_addresses_are_passed_on_unless_strangers_are_trusted(
    endpoints: Sequence[Endpoint], source: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network
) -> None:
    """Each address is checked by its properties in `ipaddress`, and not by the tables of `passed_on`."""
    told = passed_on([*endpoints, Endpoint(source, 1)], source, network, trusts_strangers=False)
    trusting = passed_on([*endpoints, Endpoint(source, 1)], source, network, trusts_strangers=True)
    own = Endpoint(source, 1).unmapped().address
    assert set(told) <= set(trusting)
    assert len(set(trusting)) == len(trusting)
    for endpoint in trusting:
        address = endpoint.address
        assert 0 < endpoint.port < 65536
        assert address not in network
        assert not address.is_loopback | address.is_multicast | address.is_unspecified | address.is_link_local
        assert address != ip_address("255.255.255.255")
        assert address not in ip_network("100.64.0.0/10")
        if isinstance(address, IPv6Address):
            assert address.ipv4_mapped is address.sixtofour is None
            assert not str(address).startswith("64:ff9b:")
        if address != own and endpoint in told:
            assert address.is_private
            assert not address.is_reserved
        elif address != own:
            assert address.is_global


@fuzzed(1000)
@given(
    st.one_of(_ENDPOINTS.map(str), st.text(st.characters(), max_size=30), st.text("0123456789abf:.[]%", max_size=30))
)
def test_a_text_is_refused_or_an_endpoint_whose_text_is_canonical(text: str) -> None:
    try:
        endpoint = Endpoint.parse(text)
    except InvalidEndpoint:
        return
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert text.isascii()
