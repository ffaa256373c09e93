"""What the core needs from adapters. An adapter keeps every promise here; `tests/contracts` checks them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from wg_orchestrator.domain.admission import Admitted, Grant, InvitationUse, Revocation, RevocationId
from wg_orchestrator.domain.endpoint import Endpoint, IPAddress
from wg_orchestrator.domain.events import Committed, MembershipEvent
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.receipt import Report
from wg_orchestrator.domain.stay import InvitationId, Stay, StayId
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

    @property
    def era(self) -> str:
        """In which revisions are counted now. Two events of one tenant and one era, both numbered, have two revisions,
        and on every node the same.
        """
        ...

    def all(self) -> Collection[Tenant]:
        """A copy of the list of all tenants that have peers."""
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


class Admission(Protocol):
    """Decides who may come into a tenant, by the credentials that they show before they have said who they are."""

    async def admit(self, tenant_id: TenantId, token: str | None) -> Grant:
        """What this token, or none, grants in the tenant.

        Raises NoCredentials, BadCredentials, NotForThisTenant or NotCheckable. No text of theirs has a part of the
        token in it. It may wait for others, but not for longer than some seconds.
        """
        ...

    def remembers(self, token: str) -> bool:
        """Whether this token was found good before, so that it costs little to look at it again."""
        ...


class AdmissionRecords(Protocol):
    """Remembers who has come in by which invitation, and what is revoked: on all nodes the same.

    Each coroutine raises Unavailable if that can't be read or stored now. Then, if it is not known whether something
    was stored, what was asked for may have been done.
    """

    @property
    def are_lasting(self) -> bool:
        """Whether they outlive the service. If not, nobody can count uses by them."""
        ...

    def is_ready(self) -> bool:
        """Whether all revocations are known here. If not, nobody is to be let in."""
        ...

    async def take(self, grant: Grant, tenant_id: TenantId, key: PublicKey, now: int) -> Admitted:
        """Take a use of the grant's invitation for this key; one that has been settled before is good for ever.

        Never more keys than the grant says have a use, however many ask at once, on however many nodes. Unless it is
        settled, `settle` or `give_back` has to follow, once. If the grant is for any number of keys, it is settled at
        once. Raises UsedUp.
        """
        ...

    async def settle(self, grant: Grant, tenant_id: TenantId, key: PublicKey) -> None:
        """The key has been welcomed: the use is its own from now on."""
        ...

    async def give_back(self, grant: Grant, tenant_id: TenantId, key: PublicKey) -> None:
        """The key was not welcomed: another one may have the use, if the key has no other join under way."""
        ...

    async def note(self, grant: Grant, tenant_id: TenantId) -> None:
        """Know of the grant's invitation from now on, though nobody has come by it yet."""
        ...

    async def invitations(self) -> list[InvitationUse]:
        """All that are known, in the order of their ids."""
        ...

    async def has_admitted(self, invitation: InvitationId) -> bool:
        """Whether any key has come in by this invitation."""
        ...

    def follow(self, follower: Callable[[RevocationId, Revocation | None], None]) -> None:
        """Call `follower` with each revocation that is known here, and with each that comes to be known; with None
        instead when one is withdrawn. What `take` returns is later than what `follower` was told by then. It must not
        raise.
        """
        ...

    async def revoke(self, revocation: Revocation) -> None:
        """Remember it, on all nodes. They are told without a promise of when; `reports` says which of them know."""
        ...

    async def withdraw(self, revocation_id: RevocationId) -> bool:
        """Forget a revocation. Returns whether there was one."""
        ...

    async def report(self, revocation_id: RevocationId, report: Report) -> None:
        """Replace what this node says of a revocation."""
        ...

    async def reports(self, revocation_id: RevocationId) -> list[Report]:
        """What each node has said last."""
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
