"""`python -m bench.hostile.flooder ATTACK CONNECTIONS PORT`: attacks until its standard input ends.

It shares its core with the clients whose joins are measured, and has the lowest priority, so that these wait for the
service and not for the attack. Several times a second, and at the end, it prints its state as JSON.
"""

import errno
import itertools
import json
import os
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import replace

import click

from bench import frames
from bench.crowd import IP_BIND_ADDRESS_NO_PORT, RST_ON_CLOSE
from bench.hostile.attacks import ATTACKS, Attack
from bench.tls import TlsSocket, client_context

_SAY_EVERY = 0.2
_READ_SIZE = 1 << 16
_TURNS = 64
"""Sends on one connection before the next connection gets its turn."""
_HEARD_MAX = 1 << 20


class Connection:
    __slots__ = ("greeted", "heard", "number", "sealed", "sent", "sock", "tls")

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = sock
        self.tls: TlsSocket | None = None
        self.sealed = b""
        """Bytes of TLS records that are still to be sent."""
        self.greeted = False
        self.heard = bytearray()
        self.sent = -1
        """Bytes of blocks that were sent; with TLS, of their records. Below 0: the request is not sent yet."""


class Flooder:
    def __init__(self, attack: Attack, port: int) -> None:
        self._attack = attack
        self._address = ("127.0.0.1", port)
        self._sources = itertools.cycle(f"127.0.1.{host}" for host in range(2, 2 + attack.sources))
        self._context = client_context()
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._numbers = itertools.count()
        self._began = time.monotonic()
        self.answers: Counter[str] = Counter()
        self.sent = 0

    def run(self) -> None:
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        say = 0.0
        while True:
            self._replace()
            for fd, events in self._epoll.poll(0.01):
                if fd == sys.stdin.fileno():
                    self.say()
                    return
                if (connection := self._connections.get(fd)) is not None:
                    self._advance(connection, events)
            if (now := time.monotonic()) >= say:
                say = now + _SAY_EVERY
                self.say()

    def say(self) -> None:
        stand = {"open": len(self._connections), "answers": self.answers, "sent": self.sent}
        click.echo(json.dumps(stand))

    def _replace(self) -> None:
        ended = sum(self.answers.values())
        allowed = (time.monotonic() - self._began) * self._attack.per_second
        missing = self._attack.connections - len(self._connections)
        opened = ended + len(self._connections)
        for _ in range(int(min(missing, allowed - opened))):
            self._connect()

    def _connect(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)  # So its port can be used again at once.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((next(self._sources), 0))
        sock.connect_ex(self._address)
        self._connections[sock.fileno()] = Connection(next(self._numbers), sock)
        self._epoll.register(sock.fileno(), select.EPOLLOUT | select.EPOLLRDHUP)

    def _advance(self, connection: Connection, events: int) -> None:
        try:
            if connection.tls is not None and connection.sent < 0:
                self._speak(connection)  # Its TLS handshake goes on.
            elif events & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                self._hear(connection, to_its_end=bool(events & ~(select.EPOLLIN | select.EPOLLOUT)))
            elif events & select.EPOLLOUT:
                self._speak(connection)
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(connection, "reset" if error.errno in (errno.ECONNRESET, errno.EPIPE) else str(error))

    def _speak(self, connection: Connection) -> None:
        attack, sock = self._attack, connection.sock
        if connection.sent < 0:
            if attack.record and connection.tls is None:
                connection.tls = TlsSocket(sock, self._context)
                self._epoll.modify(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
            if connection.tls is not None:
                connection.tls.shake_hands()
            if request := attack.request(connection.number, self._address[1]):
                (connection.tls or sock).send(request)
            connection.sent = 0
            if attack.greeting is not None or not attack.block:
                self._epoll.modify(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
            return
        for _ in range(_TURNS):
            if attack.limit and connection.sent >= attack.limit:
                self._epoll.modify(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
                return
            # If a send has ended in the middle of a block, the next one goes on from there.
            if connection.tls is not None:
                size = sock.send(self._sealed(connection, connection.tls)[: attack.bite])
                connection.sealed = connection.sealed[size:]
            else:
                at = connection.sent % len(attack.block)
                size = sock.send(attack.block[at : at + attack.bite])
            connection.sent += size
            self.sent += size

    def _sealed(self, connection: Connection, tls: TlsSocket) -> bytes:
        if not connection.sealed:
            block, record = self._attack.block, self._attack.record
            connection.sealed = b"".join(tls.seal(block[at : at + record]) for at in range(0, len(block), record))
        return connection.sealed

    def _hear(self, connection: Connection, *, to_its_end: bool) -> None:
        while True:
            data = (connection.tls or connection.sock).recv(_READ_SIZE)
            if not data:
                self._end(connection, "closed")
                return
            if len(connection.heard) < _HEARD_MAX:
                connection.heard += data
            if not to_its_end:
                break
        if not connection.greeted and connection.heard.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in connection.heard:
            connection.greeted = True
            if self._attack.greeting is not None:
                (connection.tls or connection.sock).send(self._attack.greeting(connection.number))
            if self._attack.block:  # From here on it does not read: the service keeps what it can't send.
                self._epoll.modify(connection.sock.fileno(), select.EPOLLOUT | select.EPOLLRDHUP)

    def _end(self, connection: Connection, how: str) -> None:
        self.answers[answer(connection.heard) or how] += 1
        del self._connections[connection.sock.fileno()]
        connection.sock.close()


def answer(heard: bytes | bytearray) -> str:
    """Find in what a service has sent the HTTP status that refused the handshake, or the code of the close frame.
    Returns an empty text if there is neither.
    """
    head, end, _ = heard.partition(b"\r\n\r\n")
    if not end:
        return ""
    status = head.split(b" ", 2)[1].decode()
    if status != "101":
        return status
    at = len(head) + len(end)
    while (frame := frames.first(heard, at)) is not None:
        if frame[0] & 0x0F == frames.CLOSE:
            return str(int.from_bytes(heard[frame[1] : frame[1] + 2], "big"))
        at = frame[2]
    return ""


def main(name: str, connections: int, port: int) -> None:
    os.nice(19)
    Flooder(replace(ATTACKS[name], connections=connections), port).run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
