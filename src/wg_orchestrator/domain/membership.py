from typing import Generic

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import Conflict, TenantLimitReached, Unavailable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.peer import DisplayName, PublicKey
from wg_orchestrator.domain.ports import PeerNotifier, Subscriber, TenantRepository
from wg_orchestrator.domain.session import NO_SESSION, SessionDigest
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId


class MembershipService(Generic[Subscriber]):
    """Lets peers into tenants and out again, and has the other peers told.

    A peer that applies its welcome, and then each notice in order, always has the tenant exactly as it was at some
    moment. It misses no event, gets none twice, and all peers get them in one order.
    """

    def __init__(self, tenants: TenantRepository, notifier: PeerNotifier[Subscriber], max_tenants: int) -> None:
        self._tenants = tenants
        self._notifier = notifier
        self._max_tenants = max_tenants
        tenants.follow(notifier.announce)

    async def join(
        self, tenant_id: TenantId, newcomer: Newcomer, subscriber: Subscriber, session: SessionDigest = NO_SESSION
    ) -> Stay:
        """Make a newcomer part of the tenant and welcome it. The caller has to have it `leave`, once.

        With a session, the peer may `resume` its stay until then.

        Raises KeyInUse, TenantFull, TenantLimitReached or Unavailable; then nothing has changed. If it raises anything
        else, by a fault of ours or because its task was cancelled, the newcomer is out again and the others are told.
        """
        while True:
            tenant = self._tenants.get(tenant_id)
            if tenant.is_empty and self._tenants.count() >= self._max_tenants:
                raise TenantLimitReached(f"the service holds {self._max_tenants} tenants")
            event = tenant.admit(self._tenants.next_stay_id(), newcomer, session)
            try:
                await self._tenants.commit(event)
                # No `await` between reading the roster and the subscription: an event in between would be lost.
                tenant = self._tenants.get(tenant_id)
                if event.stay not in tenant:
                    continue  # Another node's event has put it out again before it was welcome.
                self._notifier.welcome(tenant, event.stay, subscriber)
            except Conflict:
                continue  # Somebody else's event came first, so the tenant has changed: decide again.
            except Unavailable:
                raise
            except BaseException:
                await self.leave(event.stay)
                raise
            return event.stay

    async def resume(
        self, tenant_id: TenantId, public_key: PublicKey, secret: str, subscriber: Subscriber
    ) -> Stay | None:
        """Let a peer go on with its stay on a new connection; whatever it lived on until now is closed, anywhere.

        Nobody is told. Returns the stay in its new turn, which alone can end it from now on; or None, and nothing has
        changed, if there is no stay of this key that the secret opens. Raises Unavailable; then the
        stay goes on as before. Whatever else it raises, the stay has ended, or goes on as before.
        """
        while (event := self._tenants.get(tenant_id).resume(public_key, secret)) is not None:
            try:
                await self._tenants.commit(event)
                # No `await` here, as in `join`.
                tenant = self._tenants.get(tenant_id)
                if event.stay in tenant:
                    self._notifier.welcome(tenant, event.stay, subscriber)
                    return event.stay
            except Conflict:
                continue
            except Unavailable:
                raise
            except BaseException:
                await self.leave(event.stay)
                raise
        return None

    async def update(
        self,
        stay: Stay,
        display_name: DisplayName | None = None,
        endpoints: tuple[Endpoint, ...] | None = None,
        is_proven: bool = False,
    ) -> Stay:
        """Have a peer's new name, new endpoints or both told, and that its key `is_proven`; None leaves it as it is.
        Does nothing if that changes nothing, or if the stay has ended. If the peer has resumed it on another connection
        since, what it has said there is newer, and is kept. Returns the stay as it is then.

        Raises Unavailable.
        """
        while (tenant := self._tenants.get(stay.tenant_id)).goes_on(stay):
            event = tenant.update(stay, display_name, endpoints, is_proven)
            if event is None:
                break
            try:
                await self._tenants.commit(event)
            except Conflict:
                continue
            return event.stay
        return stay

    async def leave(self, stay: Stay, cause: LeaveCause = LeaveCause.LEFT) -> None:
        """End a stay and free its address, as soon as that can be committed. Does nothing if it has ended, or if the
        peer has resumed it since.

        If it raises and the peer `is_in` still, it has to be called again.
        """
        while stay in (tenant := self._tenants.get(stay.tenant_id)):
            try:
                await self._tenants.commit(tenant.release(stay, cause))
            except Conflict:
                continue
            except Unavailable:
                return  # The repository sees to it.
            return

    async def put_out(self, tenant_id: TenantId, public_key: PublicKey, cause: LeaveCause) -> Stay | None:
        """End the stay of this key, wherever its peer is connected, for this cause. Returns it; None if there is none.

        A peer that resumes it meanwhile is put out all the same.
        """
        put_out = stay = self._tenants.get(tenant_id).stay_of(public_key)
        while stay is not None:
            await self.leave(stay, cause)
            held = self._tenants.get(tenant_id).stay_of(public_key)
            is_resumed = held is not None and held.id == stay.id and held.turn != stay.turn
            stay = held if is_resumed else None
        return put_out

    def is_in(self, stay: Stay) -> bool:
        return stay in self._tenants.get(stay.tenant_id)

    def revision(self, tenant_id: TenantId) -> int:
        """The revision of the tenant's last event; 0 if it has no peers."""
        return self._tenants.get(tenant_id).revision

    def size(self, tenant_id: TenantId) -> int:
        """How many peers the tenant has."""
        return len(self._tenants.get(tenant_id).stays)
