import time
from secrets import token_hex

from wg_orchestrator.adapters.operators.models import NewRevocation
from wg_orchestrator.domain.admission import Grant, InvitationUse, Revocation, RevocationId, Revocations
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.peer import PublicKey, VirtualIP
from wg_orchestrator.domain.ports import AdmissionRecords, TenantRepository
from wg_orchestrator.domain.receipt import Receipt
from wg_orchestrator.domain.stay import NO_INVITATION, InvitationId
from wg_orchestrator.domain.tenant_id import TenantId


class Steering:
    """What operators do: put out, revoke, and take that back."""

    def __init__(
        self, service: "MembershipService[object]", tenants: TenantRepository, records: AdmissionRecords
    ) -> None:
        self._service = service
        self._tenants = tenants
        self._records = records
        self._revocations = Revocations()
        records.follow(self._know)

    async def put_out(self, tenant_id: TenantId, address: VirtualIP) -> bool:
        """Put out the peer at this address; it may come back. Returns whether there was one."""
        for stay in self._tenants.get(tenant_id).stays:
            if stay.peer.virtual_ip == address:
                await self._service.put_out(tenant_id, stay.peer.public_key, LeaveCause.PUT_OUT)
                return True
        return False

    async def made(self, grant: Grant, tenant_id: TenantId) -> None:
        """Know of an invitation that was made. Raises Unavailable."""
        await self._records.note(grant, tenant_id)

    async def invitations(self) -> list[tuple[InvitationUse, bool]]:
        """Those that are known, in the order of their ids, and whether each is revoked. Raises Unavailable."""
        now = time.time()
        revoked = {one.invitation for one in self._revocations if not one.is_over(now)}
        return [(use, use.id in revoked) for use in await self._records.invitations()]

    def revocations(self) -> list[Revocation]:
        """All, in the order of their ids."""
        return sorted(self._revocations, key=lambda one: one.id)

    def is_known(self, revocation_id: RevocationId) -> bool:
        return any(one.id == revocation_id for one in self._revocations)

    async def revoke(self, wanted: NewRevocation) -> Receipt:
        """Raises ValueError if that is no revocation, and Unavailable."""
        if (wanted.invitation is None) == (wanted.public_key is None):
            raise ValueError("either an invitation or a public_key is revoked")
        if wanted.tenant is not None and wanted.public_key is None:
            raise ValueError("a tenant is for a public_key: an invitation is of one tenant")
        now = int(time.time())
        revocation = Revocation(
            RevocationId(token_hex(8)),
            NO_INVITATION if wanted.invitation is None else InvitationId(wanted.invitation),
            None if wanted.public_key is None else PublicKey.parse(wanted.public_key),
            None if wanted.tenant is None else TenantId(wanted.tenant),
            now,
            None if wanted.duration is None else now + wanted.duration,
        )
        await self._records.revoke(revocation)
        return await self.receipt(revocation.id)

    async def receipt(self, revocation_id: RevocationId) -> Receipt:
        """What has become of it so far. Raises Unavailable."""
        return Receipt.of_reports(revocation_id, await self._records.reports(revocation_id))

    async def withdraw(self, revocation_id: RevocationId) -> bool:
        """Take a revocation back. Returns whether there was one. Raises Unavailable."""
        return await self._records.withdraw(revocation_id)

    def _know(self, revocation_id: RevocationId, revocation: Revocation | None) -> None:
        if revocation is None:
            self._revocations.remove(revocation_id)
        else:
            self._revocations.put(revocation)
