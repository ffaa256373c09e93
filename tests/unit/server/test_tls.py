"""TLS between an OpenSSL client and a protocol of ours, on a connection in memory."""

import asyncio
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.certificates import trusting, write_certificate
from tests.fuzzing import fuzzed
from tests.unit.server.test_websocket_protocol import MemoryTransport, turns
from wg_orchestrator.server.certificate import Certificate
from wg_orchestrator.server.tls import READ_SIZE, TlsConnection


class Listener(asyncio.Protocol):
    """A protocol that records what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []
        self.pause_at: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsConnection)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)
        if data and data == self.pause_at:
            self.transport.pause_reading()

    def eof_received(self) -> None:
        self.told.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost" if exc is None else type(exc).__name__)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


class Pair:
    """A TLS client, and the service's end of its connection."""

    def __init__(self, folder: Path) -> None:
        files = folder / "cert.pem", folder / "key.pem"
        if not files[0].exists():
            write_certificate(folder, "service")
        self.transport = MemoryTransport()
        self.protocol = Listener()
        self.connection = TlsConnection(self.protocol, Certificate(*files).context, bytearray(READ_SIZE))
        self.connection.connection_made(self.transport)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = trusting(files[0]).wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    def sealed(self, *datas: bytes) -> bytes:
        """A record for each."""
        for data in datas:
            self.client.write(data)
        return self._outgoing.read()

    def arrive(self, data: bytes) -> None:
        for at in range(0, len(data), READ_SIZE):
            piece = data[at : at + READ_SIZE]
            self.connection.get_buffer(-1)[: len(piece)] = piece
            self.connection.buffer_updated(len(piece))

    def heard(self) -> bytes:
        """What the client has been sent, and could read."""
        self._incoming.write(self.transport.taken())
        heard = b""
        try:
            while data := self.client.read(65536):
                heard += data
        except ssl.SSLWantReadError:
            pass
        return heard

    def shake_hands(self) -> "Pair":
        while True:
            try:
                self.client.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.arrive(self._outgoing.read())
                self._incoming.write(self.transport.taken())
        self.arrive(self._outgoing.read())
        self.protocol.told.clear()
        return self

    def client_hello(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.client.do_handshake()
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.client.unwrap()
        return self._outgoing.read()


async def test_a_connection_is_there_before_its_handshake_is(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    assert pair.protocol.told == ["made"]
    pair.connection.write(b"to nobody")
    pair.connection.close()
    assert pair.transport.written == b""
    assert pair.transport.state == "closing"


async def test_each_piece_of_a_handshake_counts(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    hello = pair.client_hello()
    for at in range(len(hello)):
        pair.arrive(hello[at : at + 1])
    assert pair.protocol.told == ["made"] + [b""] * len(hello)


async def test_what_is_written_arrives(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    for size in (1, 16384, 16385, 1_000_000):
        pair.connection.write(b"x" * size)
        assert pair.heard() == b"x" * size


async def test_each_record_is_one_piece_with_its_data_or_none(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    pair.arrive(pair.sealed(b"one", b"two", b"x" * 16384))
    assert pair.protocol.told == [b"one", b"two", b"x" * 16384]


async def test_a_read_that_completes_no_record_is_an_empty_piece(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    record = pair.sealed(b"one")
    for at in range(len(record)):
        pair.arrive(record[at : at + 1])
    assert pair.protocol.told == [b""] * (len(record) - 1) + [b"one"]


@fuzzed(100)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20), st.data())
async def test_however_records_are_cut_all_is_read_in_order_and_each_piece_counts(
    tmp_path_factory: pytest.TempPathFactory, datas: list[bytes], data: st.DataObject
) -> None:
    pair = Pair(tmp_path_factory.getbasetemp()).shake_hands()
    stream = pair.sealed(*datas)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1))))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        pair.arrive(stream[start:end])
    assert [piece for piece in pair.protocol.told if piece] == datas
    assert len(pair.protocol.told) >= max(len(datas), len(cuts) + 1)


@fuzzed(100)
@given(st.binary(min_size=1, max_size=200), st.booleans())
async def test_any_bytes_instead_of_records_end_a_connection_or_wait_for_more(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, shaken: bool
) -> None:
    pair = Pair(tmp_path_factory.getbasetemp())
    if shaken:
        pair.shake_hands()
    pair.arrive(junk)
    pair.connection.connection_lost(None)
    waits = pair.transport.state == "open"
    assert pair.protocol.told[-1] == ("lost" if waits else "SSLError")
    assert ("eof" in pair.protocol.told) == (shaken and not waits)


async def test_while_reading_is_paused_nothing_is_handed_on_and_nothing_is_lost(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    pair.protocol.pause_at = b"two"
    pair.arrive(pair.sealed(b"one", b"two", b"three", b"four"))
    await turns()
    assert pair.protocol.told == [b"one", b"two"]
    assert not pair.transport.reading
    pair.connection.resume_reading()
    assert pair.protocol.told == [b"one", b"two"]
    await turns()
    assert pair.protocol.told == [b"one", b"two", b"three", b"four"]
    assert pair.transport.reading


async def test_who_is_closed_is_told_so_and_what_it_still_sends_is_not_read(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    pair.connection.write(b"bye")
    pair.connection.close()
    pair.connection.write(b"more")
    assert pair.transport.state == "half-closed"
    assert pair.heard() == b"bye"
    pair.arrive(pair.sealed(b"still here"))
    pair.connection.eof_received()
    pair.connection.connection_lost(None)
    assert pair.protocol.told == ["lost"]


async def test_a_client_that_says_goodbye_is_answered_and_gone(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    pair.arrive(pair.sealed(b"last") + pair.goodbye())
    assert pair.protocol.told == [b"last", "eof"]
    assert pair.transport.state == "closing"


async def test_a_record_that_was_changed_ends_the_connection_at_once(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    record = bytearray(pair.sealed(b"one"))
    record[-1] ^= 1
    pair.arrive(bytes(record) + pair.sealed(b"two"))
    assert pair.protocol.told == ["eof"]
    assert pair.transport.state == "closing"
    pair.connection.connection_lost(None)
    assert pair.protocol.told == ["eof", "SSLError"]


async def test_a_full_outbox_is_told_of(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    pair.connection.set_write_buffer_limits(high=1000)
    assert pair.transport.high_water == 1000
    pair.connection.pause_writing()
    pair.connection.resume_writing()
    assert pair.protocol.told == ["pause", "resume"]


async def test_an_aborted_connection_is_read_no_more(tmp_path: Path) -> None:
    pair = Pair(tmp_path).shake_hands()
    pair.connection.abort()
    pair.arrive(pair.sealed(b"one"))
    assert pair.protocol.told == []
    assert pair.transport.state == "aborted"
