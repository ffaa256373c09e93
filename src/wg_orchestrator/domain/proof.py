from enum import Enum


class ProofPolicy(Enum):
    """Whether newcomers have to prove their keys."""

    OFF = "off"
    WANTED = "wanted"
    """They are asked to, and let in at once. Whose key is live has to prove it first."""
    REQUIRED = "required"
    """Nobody is let in who has not. Nor is a peer that speaks v1, which can't be asked."""
