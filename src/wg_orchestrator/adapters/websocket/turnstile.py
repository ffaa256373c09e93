import asyncio
from collections import deque

from wg_orchestrator.domain.tenant_id import TenantId


class _Gate:
    """What has passed into one tenant in this turn, and the newcomers that wait for the next turns."""

    __slots__ = ("passed", "waiting")

    def __init__(self) -> None:
        self.passed = 0
        self.waiting: deque[tuple[asyncio.Future[None], int]] = deque()


class Turnstile:
    """Lets newcomers into a large tenant one after the other, with turns of the event loop in between.

    Each newcomer is sent the whole roster. For a large tenant that takes most of a millisecond, so many newcomers in
    one turn would keep all other peers waiting.
    """

    def __init__(self, per_turn: int) -> None:
        """`per_turn` is how many peers the rosters may have together that are sent for one tenant in one turn."""
        self._per_turn = per_turn
        self._gates: dict[TenantId, _Gate] = {}

    async def enter(self, tenant_id: TenantId, size: int) -> None:
        """Wait until a newcomer to a tenant of that size may join. If few join in this turn, there is no wait.

        Newcomers of one tenant keep their order.
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
