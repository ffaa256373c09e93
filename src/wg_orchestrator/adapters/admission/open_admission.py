from wg_orchestrator.domain.admission import OPEN, Grant
from wg_orchestrator.domain.tenant_id import TenantId


class OpenAdmission:
    """An Admission that lets everybody in, and looks at no credentials."""

    async def admit(self, tenant_id: TenantId, token: str | None) -> Grant:
        return OPEN

    def remembers(self, token: str) -> bool:
        return True
