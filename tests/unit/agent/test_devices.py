"""WireGuard's configuration, in userspace over a socket as its specification has it, and in the kernel by netlink."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic.wireguard import AsyncWireGuard, wgmsg

from tests.builders import a_key
from tests.unit.agent.builders import allowed, endpoint
from wg_orchestrator.agent.errors import EnvironmentFault, InterfaceLost
from wg_orchestrator.agent.linux.kernel import KernelDevice
from wg_orchestrator.agent.linux.uapi import Uapi
from wg_orchestrator.agent.plan import RemoveTunnel, SetTunnel

ONE, TWO = a_key(1), a_key(2)
HEX_ONE, HEX_TWO = (base64.b64decode(key.text).hex() for key in (ONE, TWO))
PRIVATE = base64.b64encode(bytes(range(32))).decode()


@asynccontextmanager
async def program(folder: Path, answer: str) -> AsyncIterator[list[str]]:
    """A program that answers so, and what it was asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\n\n")).decode())
        writer.write(answer.encode())
        writer.close()

    server = await asyncio.start_unix_server(serve, folder / "wgo0.sock")
    async with server:
        yield asked


ANSWER = f"""private_key={base64.b64decode(PRIVATE).hex()}
listen_port=51820
public_key={HEX_ONE}
preshared_key={bytes(32).hex()}
protocol_version=1
endpoint=203.0.113.9:4000
last_handshake_time_sec=1700000000
last_handshake_time_nsec=500000000
tx_bytes=200
rx_bytes=100
persistent_keepalive_interval=25
allowed_ip=100.64.0.1/32
allowed_ip=10.9.0.0/16
public_key={HEX_TWO}
endpoint=[fe80::1%2]:51820
last_handshake_time_sec=0
last_handshake_time_nsec=0
persistent_keepalive_interval=0
errno=0

"""


async def test_a_program_is_read(tmp_path: Path) -> None:
    async with program(tmp_path, ANSWER) as asked:
        state = await Uapi("wgo0", tmp_path).read()
    assert asked == ["get=1\n\n"]
    assert (state.private_key, state.listen_port) == (PRIVATE, 51820)
    assert PRIVATE not in repr(state)
    one, two = state.tunnels[ONE], state.tunnels[TWO]
    assert (one.allowed_ips, one.endpoint) == (allowed("100.64.0.1/32", "10.9.0.0/16"), endpoint("203.0.113.9:4000"))
    assert (one.latest_handshake, one.rx_bytes, one.tx_bytes, one.keepalive) == (1700000000.5, 100, 200, 25)
    assert (two.endpoint, two.latest_handshake, two.allowed_ips) == (endpoint("[fe80::1]:51820"), None, frozenset())


CHANGES: list[tuple[SetTunnel | RemoveTunnel, list[list[str]]]] = [
    (RemoveTunnel(ONE), [[f"public_key={HEX_ONE}", "remove=true"]]),
    (
        SetTunnel(ONE, True, endpoint("10.0.0.1:9"), allowed("100.64.0.1/32"), 25),
        [[f"public_key={HEX_ONE}", "endpoint=10.0.0.1:9", "replace_allowed_ips=true", "allowed_ip=100.64.0.1/32",
          "persistent_keepalive_interval=25"]],
    ),
    (SetTunnel(ONE, keepalive=0), [[f"public_key={HEX_ONE}", "update_only=true", "persistent_keepalive_interval=0"]]),
    (
        SetTunnel(ONE, endpoint=endpoint("[fd00::1]:9"), keepalive=0, sends_now=True),
        [
            [f"public_key={HEX_ONE}", "update_only=true", "endpoint=[fd00::1]:9", "persistent_keepalive_interval=0"],
            [f"public_key={HEX_ONE}", "update_only=true", "persistent_keepalive_interval=25"],
            [f"public_key={HEX_ONE}", "update_only=true", "persistent_keepalive_interval=0"],
        ],
    ),
    (
        SetTunnel(ONE, False, endpoint("10.0.0.1:9"), allowed("100.64.0.1/32"), 25, begins_anew=True),
        [
            [f"public_key={HEX_ONE}", "remove=true"],
            [f"public_key={HEX_ONE}", "endpoint=10.0.0.1:9", "replace_allowed_ips=true", "allowed_ip=100.64.0.1/32",
             "persistent_keepalive_interval=25"],
        ],
    ),
    (
        SetTunnel(ONE, False, endpoint("10.0.0.1:9"), frozenset(), 25, begins_anew=True, preshared_key=PRIVATE),
        [
            [f"public_key={HEX_ONE}", "remove=true"],
            [f"public_key={HEX_ONE}", f"preshared_key={base64.b64decode(PRIVATE).hex()}", "endpoint=10.0.0.1:9",
             "replace_allowed_ips=true", "persistent_keepalive_interval=25"],
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sections"), CHANGES)
async def test_a_program_is_told_what_changes_and_nothing_of_other_peers(
    tmp_path: Path, change: SetTunnel | RemoveTunnel, sections: list[list[str]]
) -> None:
    async with program(tmp_path, "errno=0\n\n") as asked:
        await Uapi("wgo0", tmp_path).set_tunnels([change])
    assert asked == ["\n".join(["set=1", *(line for section in sections for line in section)]) + "\n\n"]
    assert "replace_peers" not in asked[0]


async def test_what_a_program_refuses_is_said(tmp_path: Path) -> None:
    async with program(tmp_path, "errno=98\n\n"):
        with pytest.raises(EnvironmentFault, match="UDP port 51820: Address already in use"):
            await Uapi("wgo0", tmp_path).set_device(PRIVATE, 51820)


@pytest.mark.parametrize("answer", ["", "errno"])
async def test_a_program_that_ends_in_its_answer_is_lost(tmp_path: Path, answer: str) -> None:
    async with program(tmp_path, answer):
        with pytest.raises(InterfaceLost):
            await Uapi("wgo0", tmp_path).read()
    assert not await Uapi("wgo0", tmp_path).answers()


class RecordingNetlink(AsyncWireGuard):  # type: ignore[misc]
    """Keeps the messages that would go to the kernel, which answers each with `error`, or that it is done."""

    def __init__(self, error: NetlinkError | None = None) -> None:
        super().__init__()
        self.sent: list[Any] = []
        self.error = error

    @property
    def prid(self) -> int:
        return 33

    async def setup_endpoint(self) -> None:
        """There is none."""

    def sendto(self, data: bytes, _: object) -> int:
        message = wgmsg(bytes(data))
        message.decode()
        self.sent.append(message)
        return len(data)

    async def get(self, *_: object, **__: object) -> Any:
        yield {"header": {"error": self.error}}


def fields(message: Any) -> dict[str, Any]:
    """The attributes of a message's one peer, by their names in linux/wireguard.h."""
    (peer,) = message.get_attr("WGDEVICE_A_PEERS")
    return dict(peer["attrs"])


REPLACE_ALLOWED_IPS, UPDATE_ONLY, REMOVE = 2, 4, 1


async def test_the_kernel_gets_one_message_for_each_step() -> None:
    netlink = RecordingNetlink()
    await KernelDevice("wgo0", netlink).set_tunnels([change for change, _ in CHANGES])
    steps = [fields(message) for message in netlink.sent]
    assert [step["WGPEER_A_FLAGS"] for step in steps] == [
        REMOVE, REPLACE_ALLOWED_IPS, UPDATE_ONLY, UPDATE_ONLY, UPDATE_ONLY, UPDATE_ONLY, REMOVE, REPLACE_ALLOWED_IPS,
        REMOVE, REPLACE_ALLOWED_IPS,
    ]  # fmt: skip
    assert [step.get("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") for step in steps] == [
        None, 25, 0, 0, 25, 0, None, 25, None, 25,
    ]  # fmt: skip
    assert [step.get("WGPEER_A_PRESHARED_KEY") for step in steps[:-1]] == [None] * 9
    assert steps[-1]["WGPEER_A_PRESHARED_KEY"] == PRIVATE.encode()
    assert not steps[-1].get("WGPEER_A_ALLOWEDIPS")
    assert {step["WGPEER_A_PUBLIC_KEY"] for step in steps} == {ONE.text.encode()}
    assert {message.get_attr("WGDEVICE_A_IFNAME") for message in netlink.sent} == {"wgo0"}
    assert all(message.get_attr("WGDEVICE_A_FLAGS") is None for message in netlink.sent), "other peers are replaced"
    whole = steps[1]
    assert (whole["WGPEER_A_ENDPOINT"]["addr"], whole["WGPEER_A_ENDPOINT"]["port"]) == ("10.0.0.1", 9)
    assert [one["addr"] for one in whole["WGPEER_A_ALLOWEDIPS"]] == ["100.64.0.1/32"]


@pytest.mark.parametrize(("code", "fault"), [(98, EnvironmentFault), (19, InterfaceLost), (1, EnvironmentFault)])
async def test_what_the_kernel_refuses_is_said(code: int, fault: type[Exception]) -> None:
    device = KernelDevice("wgo0", RecordingNetlink(NetlinkError(code)))
    with pytest.raises(fault):
        await device.set_device(None, 51820)


def a_part(*peers: dict[str, Any], **device: Any) -> Any:
    """A part of the kernel's answer, written and read again as netlink has it."""
    message = wgmsg()
    message["attrs"] = [(f"WGDEVICE_A_{name.upper()}", value) for name, value in device.items()]
    entries = [{"attrs": [(f"WGPEER_A_{name.upper()}", value) for name, value in peer.items()]} for peer in peers]
    message["attrs"].append(("WGDEVICE_A_PEERS", entries))
    message.encode()
    again = wgmsg(message.data)
    again.decode()
    return again


class AnsweringNetlink(RecordingNetlink):
    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.parts = parts

    async def info(self, _: str) -> Any:
        async def answer() -> AsyncIterator[Any]:
            for part in self.parts:
                yield part

        return answer()


def networks(*texts: str) -> list[dict[str, Any]]:
    return [_network(*text.split("/")) for text in texts]


def _network(address: str, length: str) -> dict[str, Any]:
    family, packed = ("WGALLOWEDIP_A_FAMILY", 2), ("WGALLOWEDIP_A_IPADDR", ip_address(address).packed)
    return {"attrs": [family, packed, ("WGALLOWEDIP_A_CIDR_MASK", int(length))]}


async def test_a_peer_that_the_kernel_splits_between_two_parts_is_one() -> None:
    first = a_part(
        {"public_key": ONE.text, "endpoint": {"addr": "203.0.113.9", "port": 4000},
         "persistent_keepalive_interval": 25, "rx_bytes": 100, "tx_bytes": 200,
         "last_handshake_time": {"tv_sec": 1700000000, "tv_nsec": 500000000},
         "allowedips": networks("100.64.0.1/32")},
        private_key=PRIVATE, listen_port=51820,
    )  # fmt: skip
    rest = a_part({"public_key": ONE.text, "allowedips": networks("10.9.0.0/16")}, {"public_key": TWO.text})
    state = await KernelDevice("wgo0", AnsweringNetlink(first, rest)).read()
    assert (state.private_key, state.listen_port) == (PRIVATE, 51820)
    one = state.tunnels[ONE]
    assert one.allowed_ips == allowed("100.64.0.1/32", "10.9.0.0/16")
    assert (one.endpoint, one.keepalive, one.latest_handshake) == (endpoint("203.0.113.9:4000"), 25, 1700000000.5)
    assert (one.rx_bytes, one.tx_bytes, state.tunnels[TWO].latest_handshake) == (100, 200, None)
