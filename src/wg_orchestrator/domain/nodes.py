"""The nodes of a service, as an operator sees them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, Protocol, TypeAlias

from wg_orchestrator.domain.stay import StayId

Question: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = Mapping[str, Any]


class NodeState(Enum):
    UP = "up"
    SILENT = "silent"
    """It has not been heard of for a moment: it stands still, or is cut off."""
    DOWN = "down"
    """It has stopped, or has been silent for so long that its peers have left."""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    state: NodeState
    since: int
    """When it was started, or when it was heard of last if it is not up, in seconds since 1970."""
    peers: int
    """How many peers are connected to it, as far as it has said."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that has happened on a node, or to one, and is no event of a tenant."""

    by: str
    """The process that tells of it."""
    number: int
    """How many notes it has told by then."""
    kind: Literal["refused", "node_up", "node_down"]
    at: int
    """Seconds since 1970."""
    node: str
    """On which it happened, or to which."""
    tenant_id: str | None = None
    cause: str | None = None
    """Why a connection was refused."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What nodes have said to a question."""

    answered: dict[str, Answer] = field(default_factory=dict)
    """By the names of the nodes."""
    silent: tuple[str, ...] = ()
    """Nodes that have not answered in time, and are not down."""


class Nodes(Protocol):
    """Asks all nodes of the service, this one too."""

    def nodes(self) -> list[Node]:
        """All that are known, in the order of their names."""
        ...

    def began(self, stay_id: StayId) -> str | None:
        """The node that this stay began on; None: it is not known."""
        ...

    def is_recorded_here(self, stay_id: StayId) -> bool:
        """Whether this node has to write down what happens to it: it began here, or on a node that is not up."""
        ...

    async def ask(self, question: Question) -> Answers:
        """Ask all nodes. A node that does not answer within a second is named, and not waited for."""
        ...

    def refused(self, cause: str, tenant_id: str | None) -> None:
        """Tell all nodes that a connection was refused here."""
        ...

    def hear(self, hearer: Callable[[Note], None]) -> None:
        """Call it with every note, of whichever node, in the order in which its process tells them."""
        ...

    def answer_with(self, answer: Callable[[Question], Answer], peers: Callable[[], int]) -> None:
        """Answer questions by `answer`, which must not raise, and say that so many `peers` are connected here."""
        ...
