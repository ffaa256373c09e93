"""Who may come in: what a newcomer's credentials grant it, and when that is over."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NewType

from wg_orchestrator.domain.peer import DisplayName, PublicKey
from wg_orchestrator.domain.stay import NO_INVITATION, InvitationId, Stay
from wg_orchestrator.domain.tenant_id import TenantId

RevocationId = NewType("RevocationId", str)


@dataclass(frozen=True, slots=True)
class Grant:
    """What credentials that were accepted allow. Times in seconds since 1970."""

    invitation: InvitationId = NO_INVITATION
    """By which it is remembered who has come in; NO_INVITATION: nothing is remembered."""
    display_name: DisplayName | None = None
    """The name that whoever comes in by it has, if that is fixed."""
    uses: int | None = None
    """How many public keys may come in by it; None is any number."""
    stay: int | None = None
    """Seconds that a key may stay, from its first admission; None is for good."""
    expires: float = math.inf
    """From then on only keys that have been admitted before may come back."""


OPEN = Grant()
"""What everybody has where no credentials are asked for."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A public key that may come in."""

    since: int
    """When it was admitted for the first time, in seconds since 1970."""
    is_settled: bool = True
    """Whether it has been welcomed before. If not, its use is to be settled or given back."""


@dataclass(frozen=True, slots=True)
class InvitationUse:
    """An invitation that is known: somebody has come by it, or it was made here."""

    id: InvitationId
    tenant_id: TenantId
    display_name: str | None
    uses: int | None
    """How many keys may come by it; None is any number."""
    used: int
    """How many have a use of it."""
    expires: int
    """When no new key comes by it any more, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """Whoever has come in by this invitation, or has this public key, is out, and stays out."""

    id: RevocationId
    invitation: InvitationId = NO_INVITATION
    public_key: PublicKey | None = None
    tenant_id: TenantId | None = None
    """In which tenant the key is revoked; None is all."""
    at: int = 0
    """When it was made, in seconds since 1970."""
    until: int | None = None
    """When it is over, in seconds since 1970; None: it is for good."""

    def is_over(self, now: float) -> bool:
        return self.until is not None and self.until <= now

    def covers(self, stay: Stay) -> bool:
        """Whether it is against the peer of this stay, as long as it is not over."""
        if self.invitation:
            return self.invitation == stay.invitation
        return self.public_key == stay.peer.public_key and self.tenant_id in (None, stay.tenant_id)


class Revocations:
    """All revocations, found by what they are against."""

    def __init__(self) -> None:
        self._by_id: dict[RevocationId, Revocation] = {}
        self._against: dict[object, dict[RevocationId, Revocation]] = {}

    def __iter__(self) -> Iterator[Revocation]:
        """A copy of all of them."""
        return iter(list(self._by_id.values()))

    def __contains__(self, revocation: Revocation) -> bool:
        return self._by_id.get(revocation.id) == revocation

    def put(self, revocation: Revocation) -> None:
        """Add one. It takes the place of an earlier one with its id."""
        self.remove(revocation.id)
        self._by_id[revocation.id] = revocation
        self._against.setdefault(_subject(revocation), {})[revocation.id] = revocation

    def remove(self, revocation_id: RevocationId) -> None:
        """One that is not there is no error."""
        revocation = self._by_id.pop(revocation_id, None)
        if revocation is not None:
            subject = _subject(revocation)
            del self._against[subject][revocation_id]
            if not self._against[subject]:
                del self._against[subject]

    def are_against(self, tenant_id: TenantId, key: PublicKey, invitation: InvitationId, now: float) -> bool:
        """Whether this key in this tenant, or whoever comes by this invitation, has to stay out."""
        if not self._against:
            return False
        subjects: Collection[object] = ((None, key), (tenant_id, key), *([invitation] if invitation else []))
        return any(
            not revocation.is_over(now)
            for subject in subjects
            for revocation in self._against.get(subject, {}).values()
        )


def _subject(revocation: Revocation) -> object:
    return revocation.invitation or (revocation.tenant_id, revocation.public_key)
