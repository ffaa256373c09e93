"""How the uses of an invitation are counted: one for each public key that was welcomed by it."""

from dataclasses import dataclass, replace

from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.errors import UsedUp

MOST = 100_000
"""Keys that may come by an invitation that has no number of uses, where they are counted."""


@dataclass(frozen=True, slots=True)
class Use:
    """What is remembered of one public key and one invitation.

    A use is taken before the key's join is committed, so that no two keys get the same one. It is settled when the peer
    is welcomed, and given back if it is refused. Several joins of one key may be under way, on several nodes: the use
    is given back only when the last of them has failed, and never once one of them has been welcomed.
    """

    since: int
    """When the key was admitted first, in seconds since 1970."""
    pending: int
    """Joins that may yet be welcomed or refused. Those of a node that died stay: the use is then kept for the key."""
    is_settled: bool = False

    def settled(self) -> "Use":
        return replace(self, pending=max(0, self.pending - 1), is_settled=True)

    def given_back(self) -> "Use | None":
        """None: the use is free again."""
        left = replace(self, pending=max(0, self.pending - 1))
        return left if left.is_settled or left.pending else None


def taken(grant: Grant, use: Use | None, used: int, now: int) -> Use:
    """The use of a key that asks to come in. `use` is what is remembered of it, `used` how many uses are taken. `now`
    is in seconds since 1970.

    Raises UsedUp.
    """
    if use is None:
        if now >= grant.expires:
            raise UsedUp("the invitation has expired, and this key has not come by it before")
        most = MOST if grant.uses is None else grant.uses
        if used >= most:
            raise UsedUp(f"{most} keys have come in by the invitation")
        # If any number of keys may come, there is nothing to give back.
        return Use(now, 0, is_settled=True) if grant.uses is None else Use(now, 1)
    return use if use.is_settled else replace(use, pending=use.pending + 1)
