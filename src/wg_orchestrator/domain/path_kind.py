from enum import Enum


class PathKind(Enum):
    """How one peer reaches another one."""

    LAN = "lan"
    """In a network that both are in."""
    DIRECT = "direct"
    NONE = "none"
    """It is not reached."""
