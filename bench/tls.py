"""TLS for the clients of a benchmark. They do not verify the service's certificate."""

import errno
import socket
import ssl
from contextlib import suppress

from bench.server import HOST

_READ_SIZE = 1 << 15


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_hello() -> bytes:
    """The bytes of a ClientHello, the first message of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST).do_handshake()
    return outgoing.read()


class TlsSocket:
    """TLS on a connected non-blocking socket. It has those of a socket's methods that are needed here."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self.raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=HOST)
        self.fileno = raw.fileno
        self.setsockopt = raw.setsockopt
        self.shutdown = raw.shutdown
        self.close = raw.close

    def shake_hands(self) -> None:
        """Go on with the handshake. Raises BlockingIOError until it is done, ConnectionResetError if it has failed."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    raise ConnectionResetError(errno.ECONNRESET, "amid the TLS handshake") from None
            else:
                self._flush()
                return

    def seal(self, data: bytes) -> bytes:
        """The TLS record that carries this data."""
        self._tls.write(data)
        return self._outgoing.read()

    def send(self, data: bytes) -> int:
        """Send all of the data. It must be so little that the kernel has room for it."""
        self.raw.sendall(self.seal(data))
        return len(data)

    def recv(self, _: int = _READ_SIZE) -> bytes:
        """All data that has come. Raises BlockingIOError if there is none."""
        received = b""
        while True:
            try:
                if not (data := self._tls.read(_READ_SIZE)):
                    return received
                received += data
            except ssl.SSLWantReadError:
                if received or not self._fill():
                    return received

    def recv_into(self, buffer: bytearray) -> int:
        data = self.recv()
        buffer[: len(data)] = data
        return len(data)

    def _fill(self) -> int:
        data = self.raw.recv(_READ_SIZE)
        self._incoming.write(data)
        return len(data)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.raw.sendall(self._outgoing.read())
