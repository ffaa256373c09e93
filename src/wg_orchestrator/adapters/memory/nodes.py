import time
from collections.abc import Callable

from wg_orchestrator.domain.nodes import Answer, Answers, Node, NodeState, Note, Question
from wg_orchestrator.domain.stay import StayId


class OneNode:
    """The Nodes of a service that is one node."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._since = int(time.time())
        self._answer: Callable[[Question], Answer] = lambda _: {}
        self._peers: Callable[[], int] = lambda: 0
        self._notes = 0
        self._hearers: list[Callable[[Note], None]] = []

    def nodes(self) -> list[Node]:
        return [Node(self._name, NodeState.UP, self._since, self._peers())]

    def began(self, stay_id: StayId) -> str | None:
        return self._name

    def is_recorded_here(self, stay_id: StayId) -> bool:
        return True

    async def ask(self, question: Question) -> Answers:
        return Answers({self._name: self._answer(question)})

    def refused(self, cause: str, tenant_id: str | None) -> None:
        self._notes += 1
        note = Note("one", self._notes, "refused", int(time.time()), self._name, tenant_id, cause)
        for hearer in self._hearers:
            hearer(note)

    def hear(self, hearer: Callable[[Note], None]) -> None:
        self._hearers.append(hearer)

    def answer_with(self, answer: Callable[[Question], Answer], peers: Callable[[], int]) -> None:
        self._answer, self._peers = answer, peers
