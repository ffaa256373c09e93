from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse


def health_router(is_ready: Callable[[], bool]) -> APIRouter:
    """`/healthz`: the process answers. `/readyz`: it takes peers, 503 while it does not."""
    router = APIRouter()

    @router.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        return "ok"

    @router.get("/readyz", response_class=PlainTextResponse)
    async def readyz(response: Response) -> str:
        if is_ready():
            return "ready"
        response.status_code = 503
        return "not ready"

    return router
