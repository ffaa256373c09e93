import itertools
import json
import socket
import time
from typing import NamedTuple

from bench import counting
from bench.client import Client
from bench.crowd import Crowd
from bench.errors import BrokenPromise
from bench.feeder import JOIN, LEAVE, PING
from bench.identity import identity
from bench.server import HOST, Server

_TIMEOUT = 60.0
LEAST_RATIO = 12
"""The load generator has to count at least this many times as many notices per CPU-second as a loop with one `send` per
notice sends. The fastest server sends ten times as many as that loop, on any machine. So the load generator is faster
than every server, and does not limit what is measured.
"""


class Feed(NamedTuple):
    """Rates of notices that went through plain sockets: per CPU-second of the sender, and of the load generator."""

    sent_per_cpu_second: float
    counted_per_cpu_second: float


def send_limit(sockets: int, seconds: float) -> Feed:
    """Measure the machine's own limit: one plain `send` per notice, on so many sockets in turn."""
    return _feed(sockets, seconds, 1)


def test_counting(seconds: float) -> Feed:
    """Check that the load generator counts right, and fast enough for this machine. Raises BrokenPromise if not."""
    _count_every_cut()
    feed, sent = _feed(100, seconds, 1000), send_limit(100, seconds).sent_per_cpu_second
    if feed.counted_per_cpu_second < LEAST_RATIO * sent:
        ratio = feed.counted_per_cpu_second / sent
        raise BrokenPromise(f"the load generator counts only {ratio:.1f} times as many notices as one send each sends")
    return feed


def _feed(sockets: int, seconds: float, notices: int) -> Feed:
    command = ("-m", "bench.feeder", "{port}", str(sockets), str(seconds), str(notices))
    with Server(command) as feeder:
        crowd = Crowd(feeder.port)
        try:
            for number in range(sockets):
                # From several source addresses in turn, like the crowd's own connections.
                sock = socket.create_connection((HOST, feeder.port), source_address=(f"127.0.0.{2 + number % 8}", 0))
                crowd.adopt(Client(identity(number), "feed"), sock)
            cpu = time.process_time()
            deadline = time.monotonic() + _TIMEOUT
            while not feeder.said.endswith("\n"):
                crowd.rest(0.05)
                if time.monotonic() > deadline:
                    raise BrokenPromise("the feeder has not ended")
            result = json.loads(feeder.said)
            crowd.run(lambda: crowd.notices >= result["sent"], _TIMEOUT)
            cpu = time.process_time() - cpu
            crowd.rest(0.1)
            if crowd.notices != result["sent"]:
                raise BrokenPromise(f"{result['sent']:,} notices were sent and {crowd.notices:,} counted")
        finally:
            crowd.close()
    return Feed(result["sent"] / result["cpu"], result["sent"] / cpu)


def _count_every_cut() -> None:
    """Check that the same text frames and pings are found in a stream, wherever it is cut into three pieces."""
    stream = JOIN + PING + LEAVE + JOIN + PING
    for cuts in itertools.combinations(range(len(stream) + 1), 2):
        texts, pings, rest = b"", 0, b""
        for start, end in itertools.pairwise((0, *cuts, len(stream))):
            text, controls, rest = counting.cut_out_controls(rest + stream[start:end])
            texts += text
            pings += len(controls)
        if (texts, pings, rest) != (JOIN + LEAVE + JOIN, 2, b""):
            raise BrokenPromise(f"a stream cut at {cuts} is not counted right")
