"""Answers that say what is wrong (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from wg_orchestrator.domain.errors import Unavailable

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What is wrong."""

    type: str = Field("about:blank", description="a URI for its kind; about:blank: the status says it")
    title: str = Field(description="the status in words", examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="what is wrong with this request", examples=["there is no such peer"])


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    content = Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail).model_dump()
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def handle_problems(app: FastAPI) -> None:
    """Have whatever goes wrong answered by a problem."""

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # What was given is not repeated.
        faults = (f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        return problem(422, "; ".join(faults)[:1000])

    @app.exception_handler(Unavailable)
    async def unavailable(_: Request, error: Unavailable) -> JSONResponse:
        return problem(503, str(error), {"retry-after": "2"})
