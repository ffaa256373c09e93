"""Who held which address, when."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId


@dataclass(frozen=True, slots=True)
class Record:
    """That a stay began, or that it ended for this cause."""

    stay: Stay
    at: float
    """Seconds since 1970."""
    cause: LeaveCause | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """That a peer held an address. Times in seconds since 1970."""

    stay: StayId
    public_key: str
    display_name: str
    """With which it came in."""
    since: float
    until: float | None
    """None: it holds it still."""
    cause: str | None
    """Why it ended: the value of a LeaveCause."""

    def covers(self, at: float | None) -> bool:
        """Whether the address was held at this time; None is any time."""
        return at is None or (self.since <= at and (self.until is None or at < self.until))

    @property
    def place(self) -> tuple[float, StayId]:
        """Its place in the order of an address' holdings."""
        return self.since, self.stay


class History(Protocol):
    """Remembers who held which address, for as long as it was told to.

    A stay that ended without a record, because the service did, is ended by LeaveCause.LOST: at the last moment at
    which it is known to have gone on, or at the first at which it is known not to.
    """

    def running(self) -> AbstractAsyncContextManager[None]:
        """It can be used within this context."""
        ...

    async def put(self, records: Sequence[Record]) -> None:
        """Store them, in this order. A record may be put again: that changes nothing. Raises Unavailable."""
        ...

    async def holdings(self, tenant_id: TenantId, address: VirtualIP) -> list[Holding]:
        """Those of an address, in order. Raises Unavailable."""
        ...
