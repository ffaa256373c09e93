from pathlib import Path

import pytest

from wg_orchestrator.server import memory
from wg_orchestrator.server.memory import MemoryGauge, memory_limit


def test_what_is_allocated_is_in_use() -> None:
    gauge = MemoryGauge()
    before = gauge.read()
    allocated = bytearray(b"x" * 50_000_000)
    assert gauge.read() - before > len(allocated) / 2
    gauge.close()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"unit.slice/our.service": "1000"}, 1000),
        ({"unit.slice/our.service": "max", "unit.slice": "2000"}, 2000),
        ({"unit.slice/our.service": "3000", "unit.slice": "2000", "": "max"}, 2000),
        ({"": "500"}, 500),
        ({"unit.slice/other.service": "1000"}, None),
        ({}, None),
    ],
)
def test_the_least_limit_of_the_control_groups_counts(
    tmp_path: Path, limits: dict[str, str], expected: int | None
) -> None:
    for group, limit in limits.items():
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "memory.max").write_text(limit + "\n")
    own = tmp_path / "own"
    own.write_text("1:name=systemd:/x\n0::/unit.slice/our.service\n")
    assert memory_limit(tmp_path, own) == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path / "none") is None
    (tmp_path / "own").write_text("1:memory:/x\n")
    assert memory_limit(tmp_path, tmp_path / "own") is None


def test_without_a_limit_the_machine_s_memory_is_what_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: None)
    assert 0 < memory.memory_to_use(1) < memory.machine_memory()
    assert memory.memory_to_use(4) == pytest.approx(memory.memory_to_use(1) / 4, abs=1)
