"""Grants and revocations, named by what they are."""

from tests.builders import ACME, a_key
from wg_orchestrator.domain.admission import Grant, Revocation, RevocationId
from wg_orchestrator.domain.stay import InvitationId

NOW = 1_800_000_000
ONCE = Grant(InvitationId("once"), uses=1, expires=NOW + 60)
TWICE = Grant(InvitationId("a.b~c_d-e"), uses=2, expires=NOW + 60)
OFTEN = Grant(InvitationId("often"), expires=NOW + 60)
REVOKED = Revocation(RevocationId("r1"), InvitationId("once"), at=NOW)
KEY_REVOKED = Revocation(RevocationId("r2"), public_key=a_key(1), tenant_id=ACME, at=NOW, until=NOW + 5)
