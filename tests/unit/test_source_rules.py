"""What holds of every file, whoever writes it."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PACKAGE = ROOT / "src" / "wg_orchestrator"
LONGEST = 250
LONGEST_MEDIAN = 90
MOST_MODULES_ON_TOP = 6


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def nodes(*folders: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the syntax trees in these folders, and where it is."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def is_constant(name: object) -> bool:
    return isinstance(name, str) and name.rpartition(".")[2].isupper()


def test_no_file_is_long() -> None:
    assert {path.name: lines(path) for path in SOURCES if lines(path) > LONGEST} == {}


def test_most_files_are_short() -> None:
    assert statistics.median(lines(path) for path in SOURCES if lines(path)) < LONGEST_MEDIAN


def test_the_top_level_can_be_taken_in_at_a_glance() -> None:
    modules = [path.stem for path in PACKAGE.glob("*.py")]
    assert len(modules) <= MOST_MODULES_ON_TOP, modules


def test_no_import_is_for_the_type_checker_alone() -> None:
    """A name that a module needs for its types is one that it depends on."""
    names = [
        where
        for where, node in nodes("src", "bench", "harness")
        if (isinstance(node, ast.Name) and node.id == "TYPE_CHECKING")
        or (isinstance(node, ast.Attribute) and node.attr == "TYPE_CHECKING")
    ]
    assert names == []


def test_no_test_changes_a_constant() -> None:
    """What a test has to change is passed in."""
    changes = [
        where
        for where, node in nodes("tests", "bench", "harness")
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id) == "setattr"
        and any(isinstance(argument, ast.Constant) and is_constant(argument.value) for argument in node.args[:2])
    ]
    assert changes == []


def test_each_kind_of_an_event_is_told_apart_where_a_new_one_can_not_be_missed() -> None:
    """By `match`, which the type checker wants to be exhaustive; an `isinstance` would pass a new kind over."""
    kinds = {"PeerJoined", "PeerLeft", "LeaveCause"}
    asked = [
        where
        for where, node in nodes("src")
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and kinds & {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
    ]
    assert asked == []
