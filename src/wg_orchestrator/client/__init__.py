"""The other end of protocol v1: what `wg-orchestrator join` and the demo are made of, and a model for clients of
your own.

It does not trust the service: what it yields has the protocol's shape, what it holds and waits for has a bound.
"""

from wg_orchestrator.client.client import JoinRefused, Limits, TryAgainLater, follow
from wg_orchestrator.client.keys import KeyPair
from wg_orchestrator.client.retries import keep_following, retry_delays
from wg_orchestrator.client.roster import Roster
from wg_orchestrator.wire.v1 import BadMessage, Joined, Left, Message, Welcome

__all__ = [
    "BadMessage",
    "JoinRefused",
    "Joined",
    "KeyPair",
    "Left",
    "Limits",
    "Message",
    "Roster",
    "TryAgainLater",
    "Welcome",
    "follow",
    "keep_following",
    "retry_delays",
]
