from collections.abc import Collection
from dataclasses import dataclass

from wg_orchestrator.domain.admission import RevocationId


@dataclass(frozen=True, slots=True)
class Report:
    """What a node has done about a revocation."""

    node: str
    put_out: int
    """How many peers it has put out."""
    of: int
    """How many peers that say what they have applied are connected to it, in the tenants that it is about."""
    by: int
    """How many of them have taken whoever was put out, out of their WireGuard."""
    since: int | None
    """Since when all of them have, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What has become of a revocation, on all nodes together."""

    id: RevocationId
    put_out: int
    """How many peers were put out."""
    nodes: int
    """How many nodes know of it."""
    of: int
    """How many peers that say what they have applied are in the tenants that it is about."""
    by: int
    """How many of them have taken whoever was put out, out of their WireGuard."""
    since: int | None
    """Since when all of them have, in seconds since 1970."""

    @classmethod
    def of_reports(cls, revocation_id: RevocationId, reports: Collection[Report]) -> "Receipt":
        """The sum of what the nodes say."""
        times = [report.since for report in reports if report.since is not None]
        is_done = bool(reports) and len(times) == len(reports)
        return cls(
            revocation_id,
            sum(report.put_out for report in reports),
            len(reports),
            sum(report.of for report in reports),
            sum(report.by for report in reports),
            max(times) if is_done else None,
        )
