import asyncio
from collections import deque

from wg_orchestrator.domain.tenant_id import TenantId


class _Gate:
    """One tenant's: what has passed in this turn, and who waits for the next ones."""

    __slots__ = ("passed", "waiting")

    def __init__(self) -> None:
        self.passed = 0
        self.waiting: deque[tuple[asyncio.Future[None], int]] = deque()


class Turnstile:
    """Has newcomers to a large tenant come in one after the other, with turns of the event loop in between.

    Who is let in is sent the roster at once; of a large tenant that takes a millisecond, and many together would keep
    everybody else waiting for all of them.
    """

    def __init__(self, per_turn: int) -> None:
        """`per_turn` is how much of one tenant passes in one turn: peers in the rosters that are sent."""
        self._per_turn = per_turn
        self._gates: dict[TenantId, _Gate] = {}

    async def enter(self, tenant_id: TenantId, size: int) -> None:
        """Wait until a newcomer to a tenant of that size may come in: not at all, as long as few do in this turn.

        Those of one tenant come in in the order they came.
        """
        gate = self._gates.get(tenant_id)
        loop = asyncio.get_running_loop()
        if gate is None:
            gate = self._gates[tenant_id] = _Gate()
            loop.call_soon(self._turn, tenant_id, gate)
        if gate.waiting or (gate.passed + size > self._per_turn and gate.passed):
            turn = loop.create_future()
            gate.waiting.append((turn, size))
            await turn
        else:
            gate.passed += size

    def _turn(self, tenant_id: TenantId, gate: _Gate) -> None:
        gate.passed = 0
        while gate.waiting:
            turn, size = gate.waiting[0]
            if not turn.done():  # Else its task was cancelled.
                if gate.passed and gate.passed + size > self._per_turn:
                    break
                gate.passed += size
                turn.set_result(None)
            gate.waiting.popleft()
        if gate.passed:
            asyncio.get_running_loop().call_soon(self._turn, tenant_id, gate)
        else:
            del self._gates[tenant_id]
