import time
from pathlib import Path

from fastapi import HTTPException

from wg_orchestrator.adapters.operators import models
from wg_orchestrator.adapters.operators.models import as_time
from wg_orchestrator.adapters.operators.parameters import After, Limit
from wg_orchestrator.adapters.operators.steering import Steering
from wg_orchestrator.adapters.operators.view import asked
from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.errors import InvalidDisplayName
from wg_orchestrator.domain.nodes import Nodes
from wg_orchestrator.domain.peer import parse_display_name
from wg_orchestrator.domain.stay import InvitationId
from wg_orchestrator.domain.tenant_id import TenantId

_LATEST = 253_402_300_799
"""The last second that RFC 3339 has a name for."""


class Inviting:
    """What the API says and does about invitations."""

    def __init__(self, steering: Steering, nodes: Nodes, signing_key: Path | None) -> None:
        """With a `signing_key`, it makes invitations."""
        self._steering = steering
        self._nodes = nodes
        self._signing_key = signing_key

    async def invite(self, wanted: models.NewInvitation) -> models.InvitationMade:
        """Make an invitation. Its token is shown this once."""
        if self._signing_key is None:
            raise HTTPException(409, "the service makes no invitations: it has no --invitation-signing-key")
        from wg_orchestrator.wire.signing import BadKey, read_key, sign  # Loaded only by a service that signs.

        try:
            name = None if wanted.name is None else parse_display_name(wanted.name)
            key = read_key(self._signing_key)
        except InvalidDisplayName as error:
            raise HTTPException(422, str(error)) from error
        except (OSError, BadKey) as error:
            raise HTTPException(409, "the service's --invitation-signing-key can't be used") from error
        tenant_id = TenantId(wanted.tenant)
        invitation, token = sign(key, tenant_id, name, wanted.uses, wanted.expires, wanted.stay)
        expires = int(time.time()) + wanted.expires
        grant = Grant(InvitationId(invitation), name, wanted.uses, wanted.stay, expires)
        await self._steering.made(grant, tenant_id)
        return models.InvitationMade(id=invitation, token=token)

    async def invitations(self, limit: Limit = 100, after: After = "") -> models.Invitations:
        """The invitations that somebody has come by, or that were made here."""
        found = [one for one in await self._steering.invitations() if one[0].id > after]
        page = found[:limit]
        following = page[-1][0].id if len(found) > limit else None
        listed = [
            models.Invitation(
                id=use.id,
                tenant=use.tenant_id,
                name=use.display_name,
                uses=use.uses,
                used=use.used,
                expires=as_time(min(use.expires, _LATEST)),
                revoked=is_revoked,
            )
            for use, is_revoked in page
        ]
        return models.Invitations(invitations=listed, next=following, nodes=asked(await self._nodes.ask({})))
