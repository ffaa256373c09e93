"""The names that nodes give to their leases and to the stays that begin with them."""

import re

# A process's random name, and a number: of its lease, or of a stay.
_NUMBERED = re.compile(r"[A-Za-z0-9]{1,32}-[0-9]{1,18}", re.ASCII)


class Unreadable(ValueError):
    """A message in the stream that this version does not write."""


def is_name(token: object) -> bool:
    """Whether this is the name of a lease or of a stay."""
    return isinstance(token, str) and _NUMBERED.fullmatch(token) is not None


def process_of(name: str) -> str:
    """The process that made the name."""
    return name.rpartition("-")[0]


def parse_node(token: str) -> str:
    """The name of a lease. Raises Unreadable."""
    if not is_name(token):
        raise Unreadable("no name of a node")
    return token
