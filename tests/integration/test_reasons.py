"""The log and the metrics name the true reason why a connection ended."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs
from websockets.frames import Frame, Opcode

from tests.integration import elsewhere
from tests.integration.actor import until
from tests.integration.service import RawClient, Service, join_message, running
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.tenant_id import TenantId

_ACME = TenantId("acme")
Act = Callable[[RawClient, Service], Any]


def _send(opcode: int, payload: bytes = b"", **options: Any) -> Act:
    return lambda client, _: client.send(opcode, payload, **options)


def _too_many_frames(client: RawClient, service: Service) -> None:
    for _ in range(101):
        client.send(Opcode.TEXT, b"x")


def _too_many_fragments(client: RawClient, service: Service) -> None:
    for number in range(17):
        client.send(Opcode.CONT if number else Opcode.TEXT, b"", fin=False)


def _put_out(client: RawClient, service: Service) -> None:
    elsewhere.leave(service, list(service.container.tenants().get(_ACME).stays), LeaveCause.LOST)


async def _until_left(service: Service) -> None:
    await until(lambda: service.metric("peers") == 0 and service.metric("joins_total") == 1)


ENDINGS: dict[str, tuple[str, Act]] = {
    "a close frame": ("closed by the peer", _send(Opcode.CLOSE, b"\x03\xe8")),
    "a close frame without a code": ("closed by the peer", _send(Opcode.CLOSE)),
    "a close frame with our code": ("closed by the peer", _send(Opcode.CLOSE, b"\x03\xf4")),
    "end of stream": ("end of stream", lambda client, _: client.writer.write_eof()),
    "reset": ("connection lost", lambda client, _: client.reset()),
    "a binary message": ("text only", _send(Opcode.BINARY, b"x")),
    "text that is none": ("invalid utf-8", _send(Opcode.TEXT, b"\xff")),
    "a message too big": ("too big", _send(Opcode.TEXT, b"x" * 4097)),
    "too many frames": ("policy", _too_many_frames),
    "too many fragments": ("policy", _too_many_fragments),
    "no frame at all": ("unknown frame type", lambda client, _: client.writer.write(b"\xff\xff")),
    "a frame without a mask": ("unmasked frame", lambda client, _: client.writer.write(b"\x81\x00")),
    "half a close code": ("half a close code", _send(Opcode.CLOSE, b"\x03")),
    "put out by another node": ("try again later", _put_out),
}


def _said(lines: list[Any], event: str) -> list[str]:
    return [line["reason"] for line in lines if line["event"] == event]


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_peer_that_left_is_logged_with_what_ended_its_connection(name: str) -> None:
    reason, act = ENDINGS[name]
    async with running() as service:
        with capture_logs() as lines:
            client = await RawClient.join(service, 1)
            act(client, service)
            await _until_left(service)
        assert _said(lines, "left") == [reason]
        assert _said(lines, "refused") == []
        assert service.metric("leaves_total", reason=reason) == 1


async def test_a_binary_message_together_with_the_join_is_logged_as_what_it_is() -> None:
    async with running() as service:
        with capture_logs() as lines:
            client = await RawClient.open(service)
            frames = Frame(Opcode.TEXT, join_message(1).encode()), Frame(Opcode.BINARY, b"x")
            client.writer.write(b"".join(frame.serialize(mask=True) for frame in frames))
            await _until_left(service)
        assert _said(lines, "left") == ["text only"]
        assert service.metric("leaves_total", reason="text only") == 1


async def test_a_peer_that_is_silent_is_logged_as_one_that_left_a_ping_unanswered() -> None:
    async with running(ping_interval=0.05, ping_timeout=0.05) as service:
        with capture_logs() as lines:
            await RawClient.join(service, 1)
            await _until_left(service)
        assert _said(lines, "left") == ["ping timeout"]


async def test_a_peer_that_does_not_read_is_logged_as_too_slow() -> None:
    async with running(max_outbox_size=4096, send_buffer_size=4096) as service:
        with capture_logs() as lines:
            await RawClient.join(service, 1)
            with anyio.fail_after(30):
                while service.metric("peers"):
                    elsewhere.come_and_go(service, 100)
                    await anyio.sleep(0.001)
        assert _said(lines, "left") == ["too slow"]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"binary", "text only"),
        ("[]", "malformed join"),
        (join_message(1, display_name=""), "bad display name"),
        (join_message(1, public_key="x"), "bad public key"),
        (join_message(9), "key in use"),
        ("x" * 4097, "too big"),
    ],
)
async def test_who_was_refused_is_logged_with_what_it_was_told(first: str | bytes, reason: str) -> None:
    async with running() as service:
        await RawClient.join(service, 9)
        with capture_logs() as lines:
            client = await RawClient.open(service)
            payload = first if isinstance(first, bytes) else first.encode()
            client.send(Opcode.BINARY if isinstance(first, bytes) else Opcode.TEXT, payload)
            assert (await client.read_close())[1] == reason
        assert _said(lines, "refused") == [reason]
        assert _said(lines, "left") == []
        assert service.metric("refusals_total", reason=reason) == 1
