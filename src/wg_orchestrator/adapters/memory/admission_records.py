from collections import defaultdict
from collections.abc import Callable

from wg_orchestrator.domain.admission import Admitted, Grant, InvitationUse, Revocation, RevocationId
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.receipt import Report
from wg_orchestrator.domain.stay import InvitationId
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.domain.uses import Use, taken

MOST = 100_000
"""Keys that are remembered."""


class InMemoryAdmissionRecords:
    """AdmissionRecords that end with the process. They are bounded: of too many keys the oldest are forgotten."""

    are_lasting = False

    def __init__(self, most: int = MOST) -> None:
        """`most`: keys of all invitations together."""
        self._most = most
        self._uses: defaultdict[InvitationId, dict[PublicKey, Use]] = defaultdict(dict)
        # In the order in which they came.
        self._keys: dict[tuple[InvitationId, PublicKey], None] = {}
        self._invitations: dict[InvitationId, tuple[Grant, TenantId]] = {}
        self._revocations: dict[RevocationId, Revocation] = {}
        self._reports: defaultdict[RevocationId, dict[str, Report]] = defaultdict(dict)
        self._followers: list[Callable[[RevocationId, Revocation | None], None]] = []

    def is_ready(self) -> bool:
        return True

    async def take(self, grant: Grant, tenant_id: TenantId, key: PublicKey, now: int) -> Admitted:
        uses = self._uses.get(grant.invitation, {})
        use = taken(grant, uses.get(key), len(uses), now)
        self._uses[grant.invitation][key] = use
        self._keys[grant.invitation, key] = None
        self._invitations[grant.invitation] = grant, tenant_id
        if len(self._keys) > self._most:
            self._forget(*next(iter(self._keys)))
        return Admitted(use.since, use.is_settled)

    async def settle(self, grant: Grant, tenant_id: TenantId, key: PublicKey) -> None:
        uses = self._uses[grant.invitation]
        uses[key] = uses[key].settled()

    async def give_back(self, grant: Grant, tenant_id: TenantId, key: PublicKey) -> None:
        left = self._uses[grant.invitation][key].given_back()
        if left is not None:
            self._uses[grant.invitation][key] = left
        else:
            self._forget(grant.invitation, key)

    async def note(self, grant: Grant, tenant_id: TenantId) -> None:
        self._invitations.setdefault(grant.invitation, (grant, tenant_id))
        if len(self._invitations) > self._most:
            self._invitations.pop(next(iter(self._invitations)))

    async def invitations(self) -> list[InvitationUse]:
        return [
            InvitationUse(
                invitation,
                tenant_id,
                grant.display_name,
                grant.uses,
                len(self._uses.get(invitation, ())),
                int(grant.expires),
            )
            for invitation, (grant, tenant_id) in sorted(self._invitations.items())
        ]

    async def has_admitted(self, invitation: InvitationId) -> bool:
        return invitation in self._uses

    def follow(self, follower: Callable[[RevocationId, Revocation | None], None]) -> None:
        for revocation in self._revocations.values():
            follower(revocation.id, revocation)
        self._followers.append(follower)

    async def revoke(self, revocation: Revocation) -> None:
        self._revocations[revocation.id] = revocation
        self._tell(revocation.id, revocation)

    async def withdraw(self, revocation_id: RevocationId) -> bool:
        was_there = self._revocations.pop(revocation_id, None) is not None
        self._reports.pop(revocation_id, None)
        if was_there:
            self._tell(revocation_id, None)
        return was_there

    async def report(self, revocation_id: RevocationId, report: Report) -> None:
        if revocation_id in self._revocations:
            self._reports[revocation_id][report.node] = report

    async def reports(self, revocation_id: RevocationId) -> list[Report]:
        return list(self._reports.get(revocation_id, {}).values())

    def _forget(self, invitation: InvitationId, key: PublicKey) -> None:
        del self._keys[invitation, key], self._uses[invitation][key]
        if not self._uses[invitation]:
            del self._uses[invitation]
            self._invitations.pop(invitation, None)

    def _tell(self, revocation_id: RevocationId, revocation: Revocation | None) -> None:
        for follower in self._followers:
            follower(revocation_id, revocation)
