"""Parameters that requests to the operators' API have in common."""

from typing import Annotated

from fastapi import Path, Query

Tenant = Annotated[str, Path(pattern=r"^[A-Za-z0-9._~-]{1,64}$", examples=["acme"])]
RevocationName = Annotated[str, Path(pattern=r"^[A-Za-z0-9._~-]{1,64}$", examples=["8d1f0c2a9b7d4e11"])]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
After = Annotated[str, Query(max_length=128, description="the `next` of the answer before")]
