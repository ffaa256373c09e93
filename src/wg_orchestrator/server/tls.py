import asyncio
import ssl
from contextlib import suppress
from typing import Any, cast

READ_SIZE = 1 << 15
"""Bytes that one read takes at most. While a protocol has paused reading, its connection holds these and one record."""
_HEADER = 5
_MAX_RECORD = _HEADER + (1 << 14) + 2048
"""Bytes of a record with its header, at most. TLS 1.2 allows the longest ones: RFC 5246, section 6.2.3."""
_CHUNK = 1 << 14
"""Bytes that OpenSSL gets in one write: one record. Its buffers never shrink, and a welcome may have megabytes."""
_NOBODY = asyncio.Protocol()


class TlsConnection(asyncio.BufferedProtocol, asyncio.Transport):
    """The server's side of TLS on a TCP connection: the TCP transport's protocol, and the next protocol's transport.

    The next protocol gets `connection_made` as soon as there is a TCP connection, so that a connection counts from its
    first packet, whatever becomes of its TLS handshake. It gets one `data_received` for each TLS record; the data is
    empty for a record without data, e.g. one of the handshake. It also gets an empty `data_received` for each read that
    completes no record. So it can count all work that a client causes. OpenSSL gets whole records only.

    TLS has no half-closed connections (`can_write_eof`). `close` sends `close_notify` and an end of stream, and ignores
    what the client still sends. The next protocol has to abort the connection if it is not lost in time.
    """

    __slots__ = (
        "_buffer", "_closing", "_context", "_fault", "_incoming", "_outgoing", "_paused", "_pending", "_protocol",
        "_shaken", "_tcp", "_tls",
    )  # fmt: skip

    def __init__(self, protocol: asyncio.Protocol, context: ssl.SSLContext, buffer: bytearray) -> None:
        """`buffer` has READ_SIZE bytes. All connections of one event loop are read into it, one after the other."""
        super().__init__()
        self._protocol: asyncio.BaseProtocol = protocol
        self._context = context
        self._buffer = buffer
        self._pending = b""
        self._tls: ssl.SSLObject | None = None
        self._shaken = False
        self._paused = False
        self._closing = False
        self._fault: Exception | None = None

    # As the TCP transport's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast("asyncio.Transport", transport)
        self._protocol.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        protocol, self._protocol, self._tls = self._protocol, _NOBODY, None
        protocol.connection_lost(self._fault or exc)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:  # Ignore what still comes.
            return
        self._pending += self._buffer[:nbytes]
        if not self._read_records():
            self._hand_on(b"")

    def eof_received(self) -> None:
        self._end()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    # As the next protocol's transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._context if name == "sslcontext" else self._tcp.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing or self._tcp.is_closing()

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._tcp.resume_reading()
            if self._pending:
                asyncio.get_running_loop().call_soon(self._read_records)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._tcp.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._tcp.get_write_buffer_size()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`. Before the TLS handshake is done, and after `close`, it is dropped."""
        if self._tls is None or not self._shaken or self._closing:
            return
        if len(data) <= _CHUNK:
            self._tls.write(data)
            self._flush()
            return
        records = []
        for at in range(0, len(data), _CHUNK):
            self._tls.write(data[at : at + _CHUNK])
            records.append(self._outgoing.read())
        self._tcp.write(b"".join(records))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if self._closing:
            return
        self._say_goodbye()
        if self._shaken and not self._tcp.is_closing():
            self._tcp.write_eof()
            self._tcp.resume_reading()
        else:
            self._tcp.close()

    def abort(self) -> None:
        self._closing = True
        self._tcp.abort()

    # Records

    def _read_records(self) -> bool:
        """Read the pending bytes record by record, until the protocol pauses reading. Returns whether there was one."""
        data, at = self._pending, 0
        while not self._paused and not self._closing and (size := len(data) - at) >= _HEADER:
            # RFC 8446, section 5.1: type, version, length.
            length = _HEADER + int.from_bytes(data[at + 3 : at + _HEADER], "big")
            if not 20 <= data[at] <= 23 or data[at + 1] != 3 or length > _MAX_RECORD:
                self._fail(ssl.SSLError("not a TLS record"))
            elif length > size:
                break
            else:
                self._read_record(data[at : at + length])
                at += length
        self._pending = data[at:]
        return at > 0

    def _read_record(self, record: bytes) -> None:
        if self._tls is None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(record)
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            data = self._tls.read(len(record))
            ended = not data
        except ssl.SSLWantReadError:
            data, ended = b"", False
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._flush()
        if ended:
            self._end()
        else:
            self._hand_on(data)

    def _hand_on(self, data: bytes) -> None:
        if not self._closing:
            cast("asyncio.Protocol", self._protocol).data_received(data)

    def _flush(self) -> None:
        """Send what OpenSSL has written: a record of data, its part of the handshake, or an alert."""
        if self._outgoing.pending:
            self._tcp.write(self._outgoing.read())

    # The end

    def _fail(self, error: ssl.SSLError) -> None:
        self._fault = error
        self._end()

    def _end(self) -> None:
        """End the connection: the client sends no more, or what it sends can't be read."""
        if self._closing:
            return
        if self._shaken:
            cast("asyncio.Protocol", self._protocol).eof_received()
        self._say_goodbye()
        self._tcp.close()

    def _say_goodbye(self) -> None:
        self._closing = True
        if self._tls is None:
            return
        if self._shaken:
            with suppress(ssl.SSLError):  # Our close_notify is written; the client's is not there yet, or never comes.
                self._tls.unwrap()
        self._flush()
