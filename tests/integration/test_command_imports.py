"""A command loads the modules that it needs, and none that only another command needs."""

import subprocess
import sys
from pathlib import Path

import pytest

ALL_AT_ONCE = 712
"""Modules that each command loaded when all commands were in one module."""
OF_SERVE = {"fastapi", "uvicorn", "pydantic", "pydantic_settings", "dependency_injector", "nats", "starlette"}

_RUN = """
import runpy, sys
sys.argv = ["wg-orchestrator", *sys.argv[1:]]
try:
    runpy.run_module("wg_orchestrator", run_name="__main__")
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""


def loaded(folder: Path, *arguments: str) -> set[str]:
    """The modules that are loaded when the command has ended."""
    command = [sys.executable, "-c", _RUN, *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return set(ended.stderr.splitlines()[-1].split())


def test_help_for_joining_loads_less_than_a_third_of_all(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "join", "--help")
    assert "wg_orchestrator.cli.join" in modules
    assert len(modules) < ALL_AT_ONCE / 3


@pytest.mark.parametrize("arguments", [("--help",), ("ws://127.0.0.1:1/tenants/acme",), ("no url", "--json")])
def test_who_joins_loads_nothing_that_only_a_service_needs(arguments: tuple[str, ...], tmp_path: Path) -> None:
    modules = loaded(tmp_path, "join", *arguments)
    assert "wg_orchestrator.cli.join" in modules
    assert {name.partition(".")[0] for name in modules} & OF_SERVE == set()
    assert not any(name.startswith(("wg_orchestrator.server", "wg_orchestrator.adapters")) for name in modules)


def test_a_service_loads_no_client(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "serve", "--help")
    assert "wg_orchestrator.server.server" in modules
    assert not any(name.startswith(("wg_orchestrator.client", "websockets")) for name in modules)
