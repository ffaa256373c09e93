"""Whatever is asked of the operators' API, it answers as its OpenAPI document says; and nothing to who has no token."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.process import serving
from tests.integration.test_operators import TOKEN

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
STREAM = "GET /v1/events"
"""It never ends: tests of its own read it."""
OPERATIONS = [
    "GET /v1/tenants", "GET /v1/tenants/{tenant}", "GET /v1/tenants/{tenant}/peers",
    "DELETE /v1/tenants/{tenant}/peers/{virtual_ip}", "GET /v1/revocations", "POST /v1/revocations",
    "GET /v1/revocations/{revocation}", "DELETE /v1/revocations/{revocation}", "POST /v1/invitations",
    "GET /v1/invitations", "GET /v1/nodes", "GET /v1/tenants/{tenant}/paths", "GET /v1/tenants/{tenant}/history",
    "POST /v1/qr-code",
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("operators")
    (folder / "token").write_text(TOKEN)
    with serving(folder, admin_port=0, admin_token_file="token", state="state") as process:
        found = re.search(r"admin=(http://[\d.:]+)", process.log())
        assert found is not None, process.log()
        yield found[1]
        assert "Traceback" not in process.log()


@pytest.fixture(scope="module")
def operations(base: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    document = httpx2.get(f"{base}/v1/openapi.json", headers=headers).json()
    schema = schemathesis.openapi.from_dict(document)
    found = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    return {one.label: one for one in found if one.label != STREAM}


def test_each_operation_is_tried(operations: dict[str, Any]) -> None:
    assert sorted(operations) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_it_answers_as_the_document_says(base: str, operations: dict[str, Any], label: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}

    @given(case=operations[label].as_strategy())
    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def answers(case: Any) -> None:
        case.call_and_validate(base_url=base, headers=headers, checks=CHECKS)

    answers()


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_token_all_is_401(base: str, operations: dict[str, Any], label: str, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    @given(case=operations[label].as_strategy())
    @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def answers(case: Any) -> None:
        response = case.call(base_url=base, headers=headers)
        assert response.status_code == 401
        assert response.json()["detail"] == "a bearer token is needed"

    answers()
