import subprocess
import sys
from pathlib import Path

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


def run(*command: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path, "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=120, check=False)


def lint(path: str = "") -> subprocess.CompletedProcess[str]:
    return run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache", path=path)


def test_the_layers_hold() -> None:
    result = lint()
    assert result.returncode == 0, result.stdout


def test_a_forbidden_import_is_caught(tmp_path: Path) -> None:
    """The same check on a copy of the package in which the core waits for an event loop and calls an adapter."""
    package = tmp_path / "wg_orchestrator"
    for source in (ROOT / "src" / "wg_orchestrator").rglob("*.py"):
        copy = package / source.relative_to(ROOT / "src" / "wg_orchestrator")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text())
    with (package / "domain" / "membership.py").open("a") as membership:
        membership.write("import asyncio\nfrom wg_orchestrator.adapters.memory import tenant_repository\n")
    result = lint(str(tmp_path))
    assert result.returncode == 1
    assert "Dependencies point inwards BROKEN" in result.stdout
    assert "The core knows no framework and no event loop BROKEN" in result.stdout


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


def test_every_file_is_small() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 300} == {}
