import pytest

from wg_orchestrator.domain.errors import InvalidTenantId
from wg_orchestrator.domain.tenant_id import parse_tenant_id


@pytest.mark.parametrize("text", ["a", "x" * 64, "Acme-Corp_2.prod~x", "0"])
def test_unreserved_characters_make_a_tenant_id(text: str) -> None:
    assert parse_tenant_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 65, "a b", "a/b", "a\n", "ä", "a%20", "a?b", "\u0661"])
def test_any_other_text_is_refused_as_a_tenant_id(text: str) -> None:
    with pytest.raises(InvalidTenantId):
        parse_tenant_id(text)
