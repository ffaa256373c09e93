import pytest

from wg_orchestrator.wire.subprotocol import V1, V2, choose


@pytest.mark.parametrize(("offered", "chosen"), [
    ([], None), (["chat"], None), ([V1], V1), ([V2], V2), ([V1, V2], V2), ([V2, V1], V2), (["chat", V1, "x"], V1),
    ([V2, V2], V2), (["wg-orchestrator.v3", V1], V1), (["WG-ORCHESTRATOR.V2"], None), ([""], None),
    ([f"{V1}, {V2}"], None),
])  # fmt: skip
def test_the_highest_known_version_of_those_offered_is_chosen(offered: list[str], chosen: str | None) -> None:
    assert choose(offered) == chosen
    assert choose(iter(offered)) == chosen


def test_the_versions_have_the_documented_names() -> None:
    assert (V1, V2) == ("wg-orchestrator.v1", "wg-orchestrator.v2")
