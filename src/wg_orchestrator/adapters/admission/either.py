from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wg_orchestrator.adapters.admission.invitation_admission import InvitationAdmission
from wg_orchestrator.adapters.admission.oidc_admission import OidcAdmission
from wg_orchestrator.adapters.admission.tokens import read_header, unverified_claims
from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.errors import NoCredentials
from wg_orchestrator.domain.tenant_id import TenantId


class EitherAdmission:
    """An Admission by invitation or by an identity provider.

    A token that names an issuer is the provider's, another one is an invitation. Each is checked with the keys of its
    own kind alone, so it does not matter whether the token tells the truth about that.
    """

    def __init__(self, invitations: InvitationAdmission, provider: OidcAdmission) -> None:
        self._invitations = invitations
        self._provider = provider

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after the keys of both meanwhile."""
        async with self._invitations.running(), self._provider.running():
            yield

    def remembers(self, token: str) -> bool:
        return self._invitations.remembers(token) or self._provider.remembers(token)

    async def admit(self, tenant_id: TenantId, token: str | None) -> Grant:
        if not token:
            raise NoCredentials("an invitation, or a token of the identity provider, is needed")
        read_header(token)
        admission = self._provider if "iss" in unverified_claims(token) else self._invitations
        return await admission.admit(tenant_id, token)
