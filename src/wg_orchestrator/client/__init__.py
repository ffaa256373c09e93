"""The other end of the protocol: what `wg-orchestrator join` and the demo are made of, and a library for clients of
your own. `Member` speaks protocol v2, and comes back by itself. `follow` and `keep_following` speak v1.

It does not trust the service: what it yields has the protocol's shape, what it holds and waits for has a bound.
"""

from wg_orchestrator.client.client import follow
from wg_orchestrator.client.connecting import JoinRefused, Limits, TryAgainLater
from wg_orchestrator.client.delays import retry_delays
from wg_orchestrator.client.keys import KeyPair
from wg_orchestrator.client.member import Event, Lost, Member
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.client.retries import keep_following
from wg_orchestrator.client.roster import Roster
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.v1 import Joined, Left, Message, Welcome

__all__ = [
    "BadMessage",
    "Endpoint",
    "Event",
    "JoinRefused",
    "Joined",
    "KeyPair",
    "Left",
    "Limits",
    "Lost",
    "Member",
    "Message",
    "Picture",
    "Roster",
    "TryAgainLater",
    "Welcome",
    "follow",
    "keep_following",
    "retry_delays",
]
