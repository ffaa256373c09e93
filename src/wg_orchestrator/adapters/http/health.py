from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse


class Readiness:
    """Whether the service takes peers."""

    def __init__(self) -> None:
        self._running = False
        self._requirements: list[Callable[[], bool]] = []

    def __bool__(self) -> bool:
        return self._running and all(is_met() for is_met in self._requirements)

    def require(self, is_met: Callable[[], bool]) -> None:
        """Take no peers while this is not so."""
        self._requirements.append(is_met)

    def start(self) -> None:
        self._running = True

    def stop(self) -> None:
        self._running = False


def health_router(readiness: Readiness) -> APIRouter:
    """`/healthz`: the process answers. `/readyz`: it takes peers, 503 while it does not."""
    router = APIRouter()

    @router.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        return "ok"

    @router.get("/readyz", response_class=PlainTextResponse)
    async def readyz(response: Response) -> str:
        if readiness:
            return "ready"
        response.status_code = 503
        return "not ready"

    return router
