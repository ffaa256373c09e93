import itertools
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import cast

from bench import frames
from bench.client import Client, State
from bench.counting import CLOSE, COMMA, NOTICE, PING, cut_out_controls
from bench.errors import BrokenPromise
from bench.tls import TlsSocket

SO_TIMESTAMPNS = 35
"""Asks for the kernel's receive time, so that latency does not depend on how fast we read. Linux; not in `socket`."""
IP_BIND_ADDRESS_NO_PORT = 24
_SOURCES = 8
"""Loopback addresses to connect from: one address has only 28,000 ports, and a port can't be used again at once."""
RST_ON_CLOSE = struct.pack("ii", 1, 0)
_RETRY_AFTER = 0.02
_TRY_AGAIN_LATER = (b"HTTP/1.1 503", b"HTTP/1.1 429")
_READ_SIZE = 1 << 16
"""Bytes: more would not stay in the processor's cache, and would cost a page fault for each new buffer."""
_MEMBER = State.MEMBER


def everybody(_: Client) -> bool:
    return True


def nobody(_: Client) -> bool:
    return False


class Crowd:
    """All clients of a run, on one epoll loop. It counts what members receive, and parses only what it must.

    Raises BrokenPromise as soon as the server closes a member, or refuses a client in a way that is final.
    """

    def __init__(
        self, *ports: int, count_joins: bool = False, sources: int = _SOURCES, tls: ssl.SSLContext | None = None
    ) -> None:
        self._ports = ports
        self._tls = tls
        self._count_joins = count_joins
        self.stamped: Callable[[Client], bool] = nobody
        """Which of the clients that connect from now on are stamped: the kernel's receive times count for them."""
        self.receive_buffer = 0
        """SO_RCVBUF in bytes for clients that connect from now on; 0: the system's default."""
        self._stamp = 0.0
        self._sources = itertools.cycle(f"127.0.0.{host}" for host in range(2, 2 + sources))
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._buffer = bytearray(_READ_SIZE)
        self._retries: list[tuple[float, Client]] = []
        self.notices = 0
        self.admitted = 0
        self.resumed = 0
        """How many of the `admitted` have resumed, and keep the picture that they had."""
        self.last_admitted = 0.0
        """When the last one was admitted, by `time.perf_counter`."""
        self.listed = 0
        """Peers in all welcomes together."""
        self.refused = 0
        """Joins that the server answered with "try again later", and that were tried again."""
        self.last_notice = 0.0
        """When the last notice was received, by `time.perf_counter`."""
        self.last_stamp = 0.0
        """When the kernel received the last data of a `stamped` client, by `time.time`."""
        self.asked_at = 0.0
        """When the last join message was sent, by `time.time`."""

    def connect(self, client: Client) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        if self.receive_buffer:  # Before it connects: the handshake announces the window.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        sock.bind((next(self._sources), 0))
        sock.connect_ex(("127.0.0.1", self._ports[client.node]))
        client.state = State.CONNECTING
        self._watch(client, sock, select.EPOLLOUT)

    def adopt(self, client: Client, sock: socket.socket) -> None:
        """Count what arrives on a connected socket as if `client` were a member on it."""
        sock.setblocking(False)
        client.state = State.MEMBER
        self._watch(client, sock, select.EPOLLIN)

    def leave(self, client: Client) -> None:
        """Send a close frame. What the client still receives is not counted. `on_gone` follows."""
        client.state = State.LEAVING
        client.sock.send(frames.CLOSE_1000)

    def await_close(self, client: Client) -> None:
        """Expect that the service closes this client. The client answers the close frame, and `on_gone` follows."""
        client.state = State.CLOSING

    def hang_up(self, client: Client) -> None:
        """Send a FIN and no close frame. `on_gone` follows when the server has ended the connection too."""
        client.state = State.LEAVING
        client.sock.shutdown(socket.SHUT_WR)

    def let_go(self, client: Client) -> socket.socket:
        """Stop handling this client, and return its connection, which stays open."""
        client.state = State.GONE
        del self._clients[client.sock.fileno()]
        self._epoll.unregister(client.sock.fileno())
        return client.sock

    def cut(self, client: Client) -> None:
        """Reset the connection, without a close frame."""
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        self._forget(client)

    def close(self) -> None:
        for client in list(self._clients.values()):
            self.cut(client)
        self._epoll.close()

    def run(self, done: Callable[[], bool], timeout: float, turn: float = 0.05) -> bool:
        """Handle all clients until `done()`. Returns False if that is not so within `timeout` seconds.

        `done` is called at least every `turn` seconds.
        """
        deadline = time.monotonic() + timeout
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._turn(min(left, turn))
        return True

    def rest(self, seconds: float) -> None:
        """Handle all clients for so long."""
        self.run(lambda: False, seconds)

    def _watch(self, client: Client, sock: socket.socket, events: int) -> None:
        client.sock = sock
        client.receive = self._receive_stamped(sock) if self.stamped(client) else sock.recv_into
        self._clients[sock.fileno()] = client
        self._epoll.register(sock.fileno(), events)

    def _turn(self, timeout: float) -> None:
        """One round of epoll. When many notices come, nearly all time goes into reading and counting them here."""
        buffer = self._buffer
        notices = 0
        for fd, _ in self._epoll.poll(timeout, 4096):
            client = self._clients.get(fd)
            if client is None:
                continue
            if client.state is _MEMBER and not client.pending:
                try:
                    size = client.receive(buffer)
                except BlockingIOError:  # A TLS record without data.
                    continue
                except OSError:
                    size = 0
                if size and buffer.find(PING, 0, size) < 0 and buffer.find(CLOSE, 0, size) < 0:
                    count = buffer.count(NOTICE, 0, size)
                    client.notices += count
                    notices += count
                    if self._count_joins:
                        client.commas += buffer.count(COMMA, 0, size)
                    if client.raw is not None:
                        client.raw.append(bytes(buffer[:size]))
                        client.stamps.append(self._stamp)
                else:
                    self._member(client, bytes(buffer[:size]))
            else:
                self._advance(client)
        if notices:
            self.notices += notices
            self.last_notice = time.perf_counter()
        if self._retries:
            self._retry()

    def _receive_stamped(self, sock: socket.socket) -> Callable[[bytearray], int]:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

        def receive(buffer: bytearray) -> int:
            size, ancillary, _, _ = sock.recvmsg_into([buffer], 64)
            for _, _, stamp in ancillary:
                seconds, nanoseconds = struct.unpack("qq", stamp)
                self._stamp = seconds + nanoseconds / 1e9
                self.last_stamp = max(self.last_stamp, self._stamp)
            return size

        return receive

    def _advance(self, client: Client) -> None:
        if client.state is State.CONNECTING:
            error = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise BrokenPromise(f"no connection: error {error}")
            self._epoll.modify(client.sock.fileno(), select.EPOLLIN)
            if self._tls is not None:
                client.state = State.SECURING
                client.sock = cast("socket.socket", TlsSocket(client.sock, self._tls))
                client.receive = client.sock.recv_into
                self._secure(client)
            else:
                self._ask(client)
            return
        if client.state is State.SECURING:
            self._secure(client)
            return
        try:
            data = client.sock.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if client.state is State.CLOSING:
            if CLOSE in data or not data:
                if data:
                    client.sock.send(frames.CLOSE_1012)
                self._forget(client)
                client.on_gone(client)
        elif client.state is State.LEAVING:
            if not data:
                self._forget(client)
                client.on_gone(client)
        elif not data:
            raise BrokenPromise(f"{client.identity.name} was cut off while {client.state.name}")
        elif client.state is State.MEMBER:
            self._stamp = time.time()
            self._member(client, data)
        else:
            client.pending += data
            if client.state is State.HANDSHAKE:
                self._shake_hands(client)
            if client.state is State.JOINING:
                self._join(client)

    def _secure(self, client: Client) -> None:
        try:
            cast("TlsSocket", client.sock).shake_hands()
        except BlockingIOError:
            return
        except OSError as error:
            raise BrokenPromise(f"{client.identity.name} was cut off amid its TLS handshake") from error
        self._ask(client)

    def _ask(self, client: Client) -> None:
        client.sock.send(frames.handshake(client.tenant, self._ports[client.node], client.dialect.subprotocol))
        client.state = State.HANDSHAKE

    def _shake_hands(self, client: Client) -> None:
        head, end, rest = client.pending.partition(b"\r\n\r\n")
        if not end:
            return
        if head.startswith(_TRY_AGAIN_LATER):
            self._try_again(client)
            return
        if not head.startswith(b"HTTP/1.1 101"):
            raise BrokenPromise(f"the handshake was answered with {bytes(head[:60])!r}")
        client.pending = rest
        client.state = State.JOINING
        self.asked_at = client.asked_at = time.time()
        client.sock.send(client.dialect.join(client.identity, client.before))

    def _join(self, client: Client) -> None:
        while (frame := frames.first(client.pending)) is not None:
            first, start, end = frame
            payload = bytes(client.pending[start:end])
            rest = bytes(client.pending[end:])
            client.pending.clear()
            if first != 0x80 | frames.TEXT:
                client.pending += rest
                self._control(client, first & 0x0F, payload)
                if client.state is not State.JOINING:
                    return
                continue
            try:
                client.place = place = client.dialect.place(payload)
            except ValueError as error:
                raise BrokenPromise(f"{client.identity.name} was not welcomed but told {payload[:80]!r}") from error
            client.virtual_ip = place.virtual_ip
            if place.listed is not None:
                client.welcomed = place.listed
                self.listed += place.listed
            else:
                self.resumed += 1
            if client.raw is not None:
                client.welcome = payload
            client.state = State.MEMBER
            self.admitted += 1
            self.last_admitted = time.perf_counter()
            if rest:
                self._member(client, rest)
            client.on_member(client)
            return

    def _member(self, client: Client, data: bytes) -> None:
        if not data:
            raise BrokenPromise(f"{client.identity.name} was cut off")
        texts, controls, rest = cut_out_controls(bytes(client.pending) + data)
        client.pending = bytearray(rest)
        count = texts.count(NOTICE)
        client.notices += count
        self.notices += count
        self.last_notice = time.perf_counter()
        if self._count_joins:
            client.commas += texts.count(COMMA)
        if client.raw is not None:
            client.raw.append(texts)
            client.stamps.append(self._stamp)
        for opcode, payload in controls:
            self._control(client, opcode, payload)

    def _control(self, client: Client, opcode: int, payload: bytes) -> None:
        if opcode == frames.PING:
            client.sock.send(frames.masked(frames.PONG, payload))
            return
        code = int.from_bytes(payload[:2], "big")
        if opcode == frames.CLOSE and client.state is State.JOINING and 4000 <= code < 4500:
            self._try_again(client)
            return
        reason = payload[2:].decode(errors="replace")
        raise BrokenPromise(f"{client.identity.name} got opcode {opcode} while {client.state.name}: {code} {reason}")

    def _try_again(self, client: Client) -> None:
        self.refused += 1
        self._forget(client)
        client.pending.clear()
        self._retries.append((time.monotonic() + _RETRY_AFTER, client))

    def _retry(self) -> None:
        now = time.monotonic()
        due = [client for at, client in self._retries if at <= now]
        self._retries = [(at, client) for at, client in self._retries if at > now]
        for client in due:
            self.connect(client)

    def _forget(self, client: Client) -> None:
        client.state = State.GONE
        del self._clients[client.sock.fileno()]
        client.sock.close()
