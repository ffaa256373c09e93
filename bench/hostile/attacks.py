import os
from collections.abc import Callable
from dataclasses import dataclass

from bench import frames
from bench.identity import Identity
from bench.stage import tenant
from bench.tls import client_hello

ATTACKED = tenant(1)
"""The tenant that "joins" attacks. The measured members are in it, too."""

_REFUSED = frozenset({"429", "503"})
"""Too many handshakes or connections, from one source or from all."""
_VANISHED = frozenset({"closed", "reset"})
"""The service need not answer what is no request. And if data of the attacker is on its way when the service closes,
the kernel resets the connection, and the service's answer may be lost.
"""

_NO_MASK = bytes(4)
_PING = frames.masked(frames.PING, bytes(125))
_EMPTY_CONTINUATION = bytes((0x00, 0x80)) + _NO_MASK
_EMPTY_BEGINNING = bytes((frames.TEXT, 0x80)) + _NO_MASK
_BLOCK = 1 << 16
"""Bytes that are sent at once."""


def _own_tenant(number: int, port: int) -> bytes:
    return frames.handshake(f"flood-{number}", port)


def _attacked_tenant(_: int, port: int) -> bytes:
    return frames.handshake(ATTACKED, port)


def _half_a_head(number: int, port: int) -> bytes:
    """Every second connection sends nothing at all."""
    return f"GET /tenants/flood HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpg".encode() if number % 2 else b""


def _endless_head(_: int, port: int) -> bytes:
    return f"GET /tenants/flood HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode()


def _blank_line(_: int, port: int) -> bytes:
    return f"\r\n\r\nGET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Padding: ".encode()


_CLIENT_HELLO = client_hello()


def _beginning_of_tls(number: int, _: int) -> bytes:
    """A third of the connections send nothing, a third half of a ClientHello, and a third a whole one."""
    return (b"", _CLIENT_HELLO[: len(_CLIENT_HELLO) // 2], _CLIENT_HELLO)[number % 3]


def _join(number: int) -> bytes:
    return Identity(number % 100_000, os.urandom(8)).join


def _join_and_leave(number: int) -> bytes:
    return _join(number) + frames.CLOSE_1000


@dataclass(frozen=True)
class Attack:
    """What each connection of a flood does. It sends a request. If that is a handshake, it sends a greeting when it is
    answered. Then it sends a block, again and again, as fast as the service takes it. A connection that the service has
    ended is replaced.
    """

    name: str
    title: str
    connections: int
    request: Callable[[int, int], bytes]
    """Makes the request from the connection's number and the service's port."""
    greeting: Callable[[int], bytes] | None = None
    block: bytes = b""
    bite: int = _BLOCK
    """Bytes of the block that one `send` sends."""
    limit: int = 0
    """Bytes of blocks that one connection sends at most; 0: any number. It also bounds what the service can hold."""
    per_second: float = 2000.0
    """New connections a second, at most. With more than the service can accept, only the kernel's queues would grow."""
    sources: int = 8
    over_tls: bool = False
    """Whether the service speaks TLS."""
    record: int = 0
    """Bytes of the block in each TLS record; one `send` sends a `bite` of it. 0: the attackers do not speak TLS."""
    growth: float = 4.0
    """Target: MB of memory that the service may have more, at most."""
    answers: frozenset[str] = frozenset()
    """How the service may end a connection: an HTTP status, a close code, "closed" without either, "reset"."""


ATTACKS = {
    attack.name: attack
    for attack in (
        Attack(
            "half-open", "request heads that do not end, half of them empty", 5000, _half_a_head,
            answers=_VANISHED | _REFUSED | {"408"},
        ),
        Attack(
            "heads", "request heads of 256 KiB", 200, _endless_head,
            block=b"".join(b"X-Padding-%02d: %s\r\n" % (line, b"x" * 1000) for line in range(16)),
            limit=256 * 1024, per_second=200, answers=_VANISHED | _REFUSED | {"400", "408", "431"},
        ),
        Attack(
            "blank", "an empty line, then a header that never ends", 200, _blank_line, block=b"x" * _BLOCK,
            per_second=200, answers=_VANISHED | _REFUSED | {"400", "408", "431"},
        ),
        Attack(
            "pings", "members who ping and never read", 200, _own_tenant, _join, _PING * (_BLOCK // len(_PING)),
            per_second=200, answers=_VANISHED | _REFUSED | {"1008"},
        ),
        Attack(
            "fragments", "empty fragments", 200, _own_tenant, lambda _: _EMPTY_BEGINNING,
            _EMPTY_CONTINUATION * (_BLOCK // len(_EMPTY_CONTINUATION)),
            per_second=200, answers=_VANISHED | _REFUSED | {"1008"},
        ),
        Attack(
            "dribble", "members who send texts of 4,000 bytes, one byte at a time", 200, _own_tenant, _join,
            frames.masked(frames.TEXT, bytes(4000)), bite=1, per_second=200, answers=_VANISHED | _REFUSED | {"1008"},
        ),
        Attack(
            "tls-stalled", "TLS handshakes that do not go on", 5000, _beginning_of_tls,
            per_second=500, over_tls=True, growth=40.0, answers=_VANISHED,
        ),
        Attack(
            "tls-dribble", "members who send TLS records of 4,000 bytes, one byte at a time", 200, _own_tenant, _join,
            frames.masked(frames.TEXT, bytes(4000)), bite=1, per_second=50, over_tls=True, record=4000,
            answers=_VANISHED | _REFUSED | {"1008", "4001"},
        ),
        Attack(
            "tls-records", "members who send TLS records of one byte", 200, _own_tenant, _join,
            frames.masked(frames.TEXT, bytes(4000)), per_second=50, over_tls=True, record=1,
            answers=_VANISHED | _REFUSED | {"1008", "4001"},
        ),
        Attack(
            "joins", "joins and leaves from one address in one tenant", 64, _attacked_tenant, _join_and_leave,
            per_second=float("inf"), sources=1, answers=_VANISHED | _REFUSED | {"1000", "1008", "4002", "4005"},
        ),
    )
}  # fmt: skip
"""Where new connections are not the attack itself, there are few of them a second. Otherwise connections that the
service cuts at once would make each of these attacks a flood of new connections.
"""
