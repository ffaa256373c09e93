import re
from typing import NewType

from wg_orchestrator.domain.errors import InvalidTenantId

TenantId = NewType("TenantId", str)

# The unreserved characters of a URI (RFC 3986, section 2.3): an id is the same text in a path and out of it.
_TENANT_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")


def parse_tenant_id(text: str) -> TenantId:
    """Return `text` as a tenant id, or raise InvalidTenantId."""
    if not _TENANT_ID.fullmatch(text):
        raise InvalidTenantId("a tenant id is 1 to 64 characters of A-Z a-z 0-9 . _ ~ -")
    return TenantId(text)
