"""What the core needs from adapters. An adapter keeps every promise here; `tests/contracts` checks them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from wg_orchestrator.domain.endpoint import Endpoint, IPAddress
from wg_orchestrator.domain.events import Committed, MembershipEvent
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId

Subscriber = TypeVar("Subscriber", contravariant=True)


class TenantRepository(Protocol):
    """Holds the tenants, and puts the events of each into one order."""

    def get(self, tenant_id: TenantId) -> Tenant:
        """The tenant as of the last event committed here; an empty one if nobody is in it.

        The tenant is shared: read it and decide with it, but leave `apply` to the repository. An empty tenant is
        forgotten, so the one that is returned is good for one decision only.
        """
        ...

    def count(self) -> int:
        """How many tenants have peers, or expect one whose join is being committed here. O(1)."""
        ...

    def next_stay_id(self) -> StayId:
        """An id for a new stay: no two are the same, on whichever node they are made."""
        ...

    def follow(self, follower: Callable[[Committed], None]) -> None:
        """Call `follower` once with each event that is committed from now on, in its tenant's order, also with those of
        other nodes.

        The call comes right after the event was applied to its tenant, with no `await` in between. It must not raise.
        An event that nodes may have numbered otherwise says so.
        """
        ...

    async def commit(self, event: MembershipEvent) -> Committed:
        """Make `event` part of its tenant: on return it is applied here and the followers have it.

        Raises Conflict if it contradicts what the tenant holds by now. Then nothing has changed, and `get` shows what
        was in the way. Raises Unavailable if it can't be committed now. Then a join, an update or a resumption has not
        happened or is undone; a leave is not lost, but is committed as soon as that is possible.
        """
        ...


@dataclass(frozen=True, slots=True)
class Challenge:
    """How somebody proves that a key is theirs: by a handshake of their WireGuard with the rendezvous.

    That shows that whoever was given this challenge has the private key, and where their packets come from.
    """

    rendezvous: PublicKey
    """The key of the WireGuard to greet."""
    preshared_key: str = field(repr=False)
    """Of this challenge alone, in WireGuard's text form. A secret."""
    endpoints: tuple[Endpoint, ...]
    """Where it can be greeted, the best first."""


class Challenger(Protocol):
    """Finds out whose keys are whose, and where their owners' WireGuards send from."""

    @property
    def rendezvous(self) -> PublicKey:
        """The key of the WireGuard to greet. It is no peer's."""
        ...

    def claim(
        self,
        public_key: PublicKey,
        source: IPAddress | None,
        reached_at: IPAddress | None,
        seen: Callable[[Endpoint], None],
        dropped: Callable[[], None],
    ) -> Challenge:
        """A new challenge for somebody who says that this key is theirs; who comes from `source`, and has reached the
        service at `reached_at`, as far as that is known.

        `seen` is called with the endpoint that the packets come from once the key is proven, and again whenever that
        changes. Of the claims on one key that are not proven only a few are kept: `dropped` is called when a newer one
        has taken this one's place. Those that go are of the source that has the most. Neither is called after
        `release`.
        """
        ...

    def release(self, challenge: Challenge) -> None:
        """Forget a challenge, and what it has proven. One that is forgotten already is no error."""
        ...


class PeerNotifier(Protocol[Subscriber]):
    """Tells the peers of each tenant who is there. A `Subscriber` is what the adapter reaches a peer by.

    No method blocks or raises: nothing waits for a peer, and a peer that fails or can't keep up harms no other.
    """

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        """Tell `subscriber` its own address and everyone else in `tenant` now; then each later event, in order.

        The tenant holds what was announced of it so far, the newcomer's own joining included.
        """
        ...

    def announce(self, committed: Committed) -> None:
        """Tell all peers that were welcomed to the event's tenant, once, but never the peer that the event is about.

        A peer that has left is told nothing any more. If its connection is still there, it is ended, as the cause says.
        The same goes for the connection of a peer that has resumed its stay on another one. If the event is not
        numbered, the peers that go by revisions are given the whole picture instead.
        """
        ...
