import time
from collections.abc import Callable
from dataclasses import replace

from wg_orchestrator.domain.admission import OPEN, Grant, Revocation, RevocationId, Revocations
from wg_orchestrator.domain.errors import MembershipError, Revoked, StayOver, Unavailable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.ports import AdmissionRecords
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId


class AdmissionControl:
    """Says who may come in by what they were granted, and who may not be in any more."""

    def __init__(self, records: AdmissionRecords, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970."""
        self._records = records
        self._clock = clock
        self._revocations = Revocations()
        self._followers: list[Callable[[RevocationId, Revocation | None], None]] = []
        records.follow(self._changed)

    def follow(self, follower: Callable[[RevocationId, Revocation | None], None]) -> None:
        """Call `follower` with each revocation that is known, or comes to be known; with None when it is withdrawn."""
        for revocation in self._revocations:
            follower(revocation.id, revocation)
        self._followers.append(follower)

    async def enter(self, grant: Grant, tenant_id: TenantId, newcomer: Newcomer) -> tuple[Newcomer, bool]:
        """Return the newcomer as it may come in, and whether that takes a use. If so, `settle` it once the newcomer is
        welcomed, or `give_back`.

        Raises Revoked, UsedUp, StayOver or Unavailable; then nothing is taken.
        """
        self._require_not_revoked(grant, tenant_id, newcomer)
        if not grant.invitation:
            return newcomer if grant is OPEN else _as_granted(grant, newcomer, None), False
        now = int(self._clock())
        admitted = await self._records.take(grant, tenant_id, newcomer.public_key, now)
        try:
            self._require_not_revoked(grant, tenant_id, newcomer)  # It may have been revoked meanwhile.
            until = None if grant.stay is None else admitted.since + grant.stay
            if until is not None and until <= now:
                raise StayOver("the key has been in by the invitation for as long as it may")
        except MembershipError:
            if not admitted.is_settled:
                await self._records.give_back(grant, tenant_id, newcomer.public_key)
            raise
        return _as_granted(grant, newcomer, until), not admitted.is_settled

    async def settle(self, grant: Grant, tenant_id: TenantId, newcomer: Newcomer) -> None:
        """The newcomer was welcomed. Raises Unavailable."""
        await self._records.settle(grant, tenant_id, newcomer.public_key)

    async def give_back(self, grant: Grant, tenant_id: TenantId, newcomer: Newcomer) -> None:
        """The newcomer was not welcomed. Raises Unavailable."""
        await self._records.give_back(grant, tenant_id, newcomer.public_key)

    def end_of(self, stay: Stay) -> LeaveCause | None:
        """Why the peer of this stay may not be in any more; None: it may."""
        now = self._clock()
        if self._revocations.are_against(stay.tenant_id, stay.peer.public_key, stay.invitation, now):
            return LeaveCause.REVOKED
        return LeaveCause.STAY_OVER if stay.until is not None and stay.until <= now else None

    def _require_not_revoked(self, grant: Grant, tenant_id: TenantId, newcomer: Newcomer) -> None:
        if not self._records.is_ready():
            raise Unavailable("it is not known what is revoked")
        if self._revocations.are_against(tenant_id, newcomer.public_key, grant.invitation, self._clock()):
            raise Revoked("the key or the invitation is revoked")

    def _changed(self, revocation_id: RevocationId, revocation: Revocation | None) -> None:
        if revocation is None:
            self._revocations.remove(revocation_id)
        elif revocation in self._revocations:
            return
        else:
            self._revocations.put(revocation)
        for follower in self._followers:
            follower(revocation_id, revocation)


def _as_granted(grant: Grant, newcomer: Newcomer, until: int | None) -> Newcomer:
    name = newcomer.display_name if grant.display_name is None else grant.display_name
    return replace(newcomer, display_name=name, invitation=grant.invitation, until=until)
