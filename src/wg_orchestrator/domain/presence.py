"""What only the node knows that a peer is connected to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant_id import TenantId


@dataclass(frozen=True, slots=True)
class Presence:
    """A peer's connection. Times in seconds since 1970."""

    stay: StayId
    source: str
    """Where it comes from."""
    protocol: str
    since: int
    applied: int
    """The revision that its WireGuard is as of, as far as it has said; 0: it has not."""
    applied_at: int
    """When it has said so; 0: it has not."""


@dataclass(frozen=True, slots=True)
class Behind:
    """A peer that has not applied its tenant's latest revision."""

    display_name: str
    virtual_ip: str
    revision: int
    """The one that it has applied; 0: none that is known."""
    since: int
    """Since when it is there, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """How many of a tenant's peers that can say so have applied its latest revision."""

    by: int = 0
    of: int = 0
    behind: tuple[Behind, ...] = ()
    """Some of the others, those that are behind longest first."""


MOST_BEHIND = 20
"""Peers that are named."""


def first_behind(behind: Iterable[Behind]) -> tuple[Behind, ...]:
    """Those that are behind longest."""
    return tuple(sorted(behind, key=lambda one: (one.since, one.virtual_ip))[:MOST_BEHIND])


class Presences(Protocol):
    """The peers that are connected to this node."""

    def count(self) -> int: ...

    def of_stays(self, stays: Iterable[StayId]) -> list[Presence]:
        """Those of these stays that are connected here."""
        ...

    def paths(self, stays: Iterable[StayId]) -> dict[StayId, Mapping[VirtualIP, PathKind]]:
        """How those of these stays that are connected here reach other peers, as far as they have said."""
        ...

    def convergence(self, tenants: Iterable[TenantId]) -> dict[TenantId, Convergence]:
        """That of the peers that are connected here, in each of these tenants in which there are any."""
        ...
