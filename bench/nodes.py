import http.client
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.dialect import V2
from bench.errors import BrokenPromise
from bench.server import HOST, Server, cpu_seconds
from harness.nats_server import NatsServer

_START_TIMEOUT = 20.0


class Nodes(Server):
    """Several nodes that are one service over a NATS server. All are killed at the end.

    All nodes share the core of the servers under test. The NATS server runs on the load generator's core, because in
    service it would not be on the nodes' machine. Methods that do not say that they are about all nodes are about the
    first one.
    """

    def __init__(self, command: Sequence[str], count: int) -> None:
        """Start `command` `count` times (see Server), and wait until all nodes are ready."""
        self._others: list[Server] = []
        self._folder = tempfile.TemporaryDirectory(prefix="bench-nats-")
        self._nats = NatsServer(Path(self._folder.name))
        self._nats.start()
        command = (*command, "--nats", self._nats.url)
        super().__init__(command)
        try:
            while len(self._others) < count - 1:
                self._others.append(Server(command))
            self.ports = (self.port, *(other.port for other in self._others))
            for server in (self, *self._others):
                _await_ready(server)
        except BaseException:
            self.stop()
            raise

    def signal_node(self, node: int, what: signal.Signals) -> None:
        self._node(node).signal(what)

    def await_node_end(self, node: int) -> None:
        """Wait until this node has ended."""
        self._node(node).await_end()

    def begin_node(self, node: int) -> None:
        """Start this node again, which has ended, and wait until it is ready."""
        self._node(node).begin()
        _await_ready(self._node(node))

    def _node(self, node: int) -> Server:
        return self if node == 0 else self._others[node - 1]

    @property
    def cpu_seconds(self) -> float:
        """Of all nodes together, without NATS."""
        return super().cpu_seconds + sum(other.cpu_seconds for other in self._others)

    @property
    def nats_cpu_seconds(self) -> float:
        return cpu_seconds(self._nats.pid)

    @property
    def memory(self) -> int:
        """Of all nodes together."""
        return super().memory + sum(other.memory for other in self._others)

    def explain(self, fault: str) -> str:
        """Of all nodes."""
        fault = super().explain(fault)
        for other in self._others:
            fault = other.explain(fault)
        return fault

    def stop(self) -> None:
        for other in self._others:
            other.stop()
        super().stop()
        self._nats.kill()
        self._folder.cleanup()


class NodesWithV2(Nodes):
    """The same, with clients that speak protocol v2."""

    speaks = (V2,)


def _await_ready(server: Server) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while not _is_ready(server.port):
        if time.monotonic() > deadline:
            raise BrokenPromise(server.explain("it does not get ready"))
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
