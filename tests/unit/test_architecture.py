import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE_TESTS = "tests/unit/domain"

_OFFLINE = """
import os, socket, sys
def refuse(*args, **kwargs): raise AssertionError("the core's tests use the network")
socket.socket.connect = socket.socket.bind = refuse
import pytest
status = pytest.main(["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", sys.argv[1]])
ours = {"wg_orchestrator", "tests"}
allowed = {"pytest", "_pytest", "hypothesis", "_hypothesis_ftz_detector", "_hypothesis_globals",
           "_hypothesis_pytestplugin", "pluggy", "iniconfig", "packaging", "pygments", "sortedcontainers",
           "exceptiongroup", "typing_extensions", "tomli", "_distutils_hack", "py"}
top = {name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__file__", None)}
foreign = {name for name in top - set(sys.stdlib_module_names) - ours - allowed
           if "site-packages" in (sys.modules[name].__file__ or "")}
print("foreign:", sorted(foreign))
sys.exit(status or bool(foreign))
"""


def run(*command: str, path: str = "", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path, "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def lint(folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What the linter says of the packages in this folder, by this project's contracts."""
    path = os.pathsep.join((str(folder), str(folder / "src")))
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    return run(str(Path(sys.executable).with_name("lint-imports")), *config, path=path, folder=folder)


def copied(folder: Path, *packages: str) -> Path:
    """Copies of these packages in `folder`."""
    for package in packages:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "results"))
    return folder


def contracts() -> list[str]:
    table = re.findall(
        r'^name = "(.+)"$', (ROOT / "pyproject.toml").read_text().split("[tool.importlinter]")[1], re.MULTILINE
    )
    assert len(table) > 5
    return table


def test_the_contracts_hold() -> None:
    result = lint()
    assert result.returncode == 0, result.stdout + result.stderr


PLANTED: dict[str, tuple[str, str]] = {
    "Dependencies point inwards": ("client/roster.py", "import wg_orchestrator.server.clock"),
    "The core and RFC 6455 know no framework and no event loop": ("domain/membership.py", "import asyncio"),
    "Adapters do not know each other": (
        "adapters/http/health.py", "import wg_orchestrator.adapters.memory.tenant_repository",
    ),
    "The container alone uses the injector": ("server/server.py", "import dependency_injector"),
    "Who joins loads nothing of a service": ("cli/following.py", "import structlog"),
    "The agent's core knows no event loop, no system and no adapter": ("agent/wishes.py", "import asyncio"),
    "No import cycles": ("rfc6455/frames.py", "import wg_orchestrator.rfc6455.message"),
    "Tests and benchmarks share the harness alone": ("../../bench/figure.py", "import tests.builders"),
    "Only its own tests know an adapter from inside": (
        "../../bench/figure.py", "import wg_orchestrator.adapters.nats.lease",
    ),
}  # fmt: skip
"""For each contract, an import that breaks it and no other: in which file, and how it is written."""


def test_no_contract_is_forgotten_here() -> None:
    assert sorted(PLANTED) == sorted(contracts())


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("packages"), "src", "bench", "harness", "tests")


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "for the type checker"])
@pytest.mark.parametrize("contract", PLANTED)
def test_an_import_that_breaks_a_contract_is_caught_by_its_name(contract: str, masked: bool, packages: Path) -> None:
    name, statement = PLANTED[contract]
    path = packages / "src" / "wg_orchestrator" / name
    planted = (
        f"\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {statement}\n" if masked else f"\n{statement}\n"
    )
    before = path.read_text()
    path.write_text(f"{before}\n{planted}\n")
    try:
        result = lint(packages)
    finally:
        path.write_text(before)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.findall(r"^(.+) BROKEN", result.stdout, re.MULTILINE) == [contract]


def test_a_package_that_is_in_no_layer_is_caught(tmp_path: Path) -> None:
    copied(tmp_path, "src", "bench", "harness", "tests")
    (tmp_path / "src" / "wg_orchestrator" / "helpers.py").touch()
    result = lint(tmp_path)
    assert result.returncode == 1
    assert "wg_orchestrator.helpers" in result.stdout


THIRD_KIND = """
@dataclass(frozen=True, slots=True)
class PeerRenamed:
    stay: Stay


MembershipEvent: TypeAlias = PeerJoined | PeerLeft | PeerUpdated | PeerResumed | PeerRenamed
"""
WHO_THINKS_OF_EVENTS = {
    "adapters/nats/expecting.py",
    "adapters/nats/commits.py",
    "adapters/operators/entries.py",
    "adapters/operators/recorder.py",
    "adapters/websocket/channel.py",
    "adapters/websocket/evictions.py",
    "adapters/websocket/lane.py",
    "adapters/websocket/lanes.py",
    "domain/tenant.py",
}


def test_the_type_checker_names_every_place_that_a_new_kind_of_event_concerns(tmp_path: Path) -> None:
    events = copied(tmp_path, "src") / "src" / "wg_orchestrator" / "domain" / "events.py"
    events.write_text(re.sub(r"\nMembershipEvent: TypeAlias = .*\n", THIRD_KIND, events.read_text()))
    mypy = (sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", os.devnull)
    result = run(*mypy, "src/wg_orchestrator", folder=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    named = set(re.findall(r"^src/wg_orchestrator/(.+?):\d+: error: .*PeerRenamed", result.stdout, re.MULTILINE))
    assert named == WHO_THINKS_OF_EVENTS


def test_the_core_is_tested_without_network_and_third_party_packages() -> None:
    result = run(sys.executable, "-c", _OFFLINE, CORE_TESTS, path=str(ROOT))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "foreign: []" in result.stdout


def test_the_core_imports_nothing_but_the_standard_library() -> None:
    modules = [
        f"wg_orchestrator.domain.{path.stem}" for path in (ROOT / "src/wg_orchestrator/domain").glob("[a-z]*.py")
    ]
    code = "import importlib, sys\nbefore = set(sys.modules)\n"
    code += f"for name in {modules!r}: importlib.import_module(name)\n"
    code += "top = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
    code += "print(sorted(top - set(sys.stdlib_module_names) - {'wg_orchestrator'}), 'asyncio' in sys.modules)"
    result = run(sys.executable, "-c", code)
    assert result.stdout.split() == ["[]", "False"], result.stdout + result.stderr
