import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.settings import Settings

BACKLOG = 2048
"""Connections that may wait in the kernel for the process to accept them."""


@contextmanager
def listening(settings: Settings, *, shares_port: bool) -> Iterator[socket.socket]:
    """Listen on the settings' host and port. With `shares_port` other processes may share it. Raises CannotStart."""
    host, port = settings.host, settings.port
    try:
        listener = listener_on(host, port, shares_port=shares_port)
    except OSError as error:
        raise CannotStart(f"can't listen on {host} port {port}: {error.strerror}") from error
    with listener:
        # Connections inherit these options. Without the first, the kernel buffers megabytes for a peer that does not
        # read. Without the second, it waits a quarter of an hour for a peer that is gone.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_size)
        with suppress(AttributeError):  # Only Linux has TCP_USER_TIMEOUT.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.tcp_user_timeout * 1000))
        yield listener


def listener_on(host: str, port: int, *, shares_port: bool = False) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    return socket.create_server(
        (host, port),
        family=socket.AF_INET6 if ":" in host else socket.AF_INET,
        backlog=BACKLOG,
        reuse_port=shares_port,
        dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
    )


def address_of(listener: socket.socket) -> str:
    """`host:port`, the host in brackets if it is an IPv6 address."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
