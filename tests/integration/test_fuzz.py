"""A hostile client at a real service's port. The service answers as the protocol says, and goes on."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed
from tests.integration.bad_inputs.case import HANDSHAKE
from tests.integration.bad_inputs.frames import CLOSE, PING, TEXT, close, frame, text
from tests.integration.process import ServiceProcess, serving
from tests.integration.service import PATIENCE
from tests.join_texts import JOIN_TEXTS
from tests.unit.server.request_streams import PADDINGS, REQUEST_STREAMS
from tests.unit.server.streams import STREAMS, pieces
from wg_orchestrator.domain.errors import InvalidDisplayName, InvalidPublicKey
from wg_orchestrator.domain.peer import PublicKey, parse_display_name
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.wire.close_codes import BAD_DISPLAY_NAME, BAD_PUBLIC_KEY, MALFORMED_JOIN
from wg_orchestrator.wire.v1 import JoinRequest, MalformedJoin


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    # Only the bounds on size may end a request here.
    limits = {"max_message_size": 100_000, "close_timeout": 1, "request_timeout": 3600}
    with serving(tmp_path_factory.mktemp("service"), **limits) as service:
        yield service
        assert service.is_alive()
        assert service.unexpected_lines() == []


_tenants = count()
_ENDLESS = 1 << 17
"""More bytes than any bound here, and more than one read takes."""


def opened(service: ServiceProcess) -> tuple[socket.socket, bytes]:
    """A WebSocket in a tenant of its own, and the bytes that came after the answer to its handshake."""
    client = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
    client.sendall(HANDSHAKE.replace(b"acme", b"t%d" % next(_tenants)))
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(4096)
    return client, answer.partition(b"\r\n\r\n")[2]


def all_that_comes(client: socket.socket) -> bytes:
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


def is_utf8(join: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in join)


def expected(join: str) -> Close | None:
    """How the service has to close a connection whose first message is `join`; None if it lets the client in."""
    try:
        request = JoinRequest.parse(join)
        parse_display_name(request.display_name)
        PublicKey.parse(request.public_key)
    except MalformedJoin:
        return MALFORMED_JOIN
    except InvalidDisplayName:
        return BAD_DISPLAY_NAME
    except InvalidPublicKey:
        return BAD_PUBLIC_KEY
    return None


@fuzzed(150)
@given(JOIN_TEXTS.filter(is_utf8))
def test_any_text_is_welcomed_or_refused_for_what_is_wrong_with_it(service: ServiceProcess, join: str) -> None:
    client, received = opened(service)
    with client:
        client.sendall(text(join))
        refusal = expected(join)
        # Close only after the first byte of the answer, so that the service has read the join by then.
        received = received or client.recv(1)
        client.sendall(close(1000))
        received += all_that_comes(client)
    if refusal is None:
        welcome = b'{"virtual_ip":"100.64.0.1","peers":[]}'
        assert received == bytes((0x80 | TEXT, len(welcome))) + welcome + b"\x88\x02\x03\xe8"
    else:
        reason = refusal.reason.encode()
        assert received == bytes((0x80 | CLOSE, 2 + len(reason))) + refusal.code.to_bytes(2, "big") + reason


@fuzzed(60)
@given(STREAMS, st.data())
def test_any_frames_leave_a_service_that_goes_on(service: ServiceProcess, stream: bytes, data: st.DataObject) -> None:
    client, _ = opened(service)
    with client:
        try:
            for piece in data.draw(pieces(stream)):
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass  # It was closed for what it sent before.
        all_that_comes(client)
    _assert_it_goes_on(service)


@fuzzed(60)
@given(st.binary(max_size=300), st.integers(0, len(HANDSHAKE)))
def test_any_bytes_amid_a_request_leave_a_service_that_goes_on(service: ServiceProcess, junk: bytes, at: int) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as client:
        try:
            client.sendall(HANDSHAKE[:at] + junk + HANDSHAKE[at:])
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It was closed for what it sent before.
        all_that_comes(client)
    _assert_it_goes_on(service)


@fuzzed(60)
@given(REQUEST_STREAMS, PADDINGS)
def test_any_request_that_goes_on_for_ever_is_ended_by_the_service(
    service: ServiceProcess, stream: bytes, padding: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as client:
        with suppress(ConnectionError):  # It was closed for what it sent before.
            client.sendall(stream + padding * (_ENDLESS // len(padding)))
        all_that_comes(client)  # To its end, though this side has none.
    _assert_it_goes_on(service)


def _assert_it_goes_on(service: ServiceProcess) -> None:
    client, _ = opened(service)
    with client:
        client.sendall(frame(PING, b"x"))
        assert client.recv(3, socket.MSG_WAITALL) == b"\x8a\x01x"
