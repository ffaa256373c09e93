from collections.abc import Callable, Iterable

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse


class Readiness:
    """Whether the service takes peers: it has started, it is not stopping, and all `requirements` are met."""

    def __init__(self, requirements: Iterable[Callable[[], bool]] = ()) -> None:
        self._running = False
        self._requirements = tuple(requirements)

    def __bool__(self) -> bool:
        return self._running and all(is_met() for is_met in self._requirements)

    def start(self) -> None:
        self._running = True

    def stop(self) -> None:
        self._running = False


def health_router(readiness: Readiness) -> APIRouter:
    """`/healthz` says that the process answers. `/readyz` says whether it takes peers: 503 while it does not."""
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
