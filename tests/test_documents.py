"""What the documents say is what the code does."""

import asyncio
import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import anyio
import click
import pytest

from tests.integration.service import PATIENCE, Client, running
from wg_orchestrator.adapters.nats.telemetry import StoreTelemetry
from wg_orchestrator.agent.status import PeerStatus, Status
from wg_orchestrator.cli.interface_options import DEFAULT_INTERFACE, DEFAULT_STATE_DIR
from wg_orchestrator.cli.up import up
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.settings import Settings
from wg_orchestrator.wire import close_codes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
PROTOCOL_V2 = (ROOT / "docs" / "protocol-v2.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
AGENT = (ROOT / "docs" / "agent.md").read_text()


def settings_table() -> str:
    rows = ["| option | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, (), frozenset()) else f"`{field.default}`"
        rows.append(f"| `--{name.replace('_', '-')}` | {default} | {field.description} |")
    return "\n".join(rows)


def test_the_readme_lists_the_settings() -> None:
    _, table, _ = re.split(r"<!-- /?settings -->\n", README)
    assert table.strip() == settings_table()


def listed_closes(document: str) -> set[tuple[int, str]]:
    rows = re.findall(r"^\| (\d{4}) \| ([a-z0-9 -]+) \|", document, re.MULTILINE)
    return {(int(code), reason) for code, reason in rows}


def test_the_protocols_list_the_close_codes() -> None:
    closes = {(one.code, one.reason) for one in vars(close_codes).values() if isinstance(one, Close)}
    invalid_utf8 = (1007, "invalid utf-8")
    only_v2 = {(4006, "not proven"), (4504, "malformed message"), (4505, "superseded")}
    assert listed_closes(PROTOCOL_V2) == closes | {invalid_utf8}
    in_v1 = {close_codes.in_v1(Close(*close)) for close in listed_closes(PROTOCOL_V2) - only_v2}
    assert listed_closes(PROTOCOL) == {(close.code, close.reason) for close in in_v1}


async def test_the_readmes_client_works(tmp_path: Path) -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "asyncio.run" in block)
    async with running() as service:
        script = tmp_path / "client.py"
        script.write_text(code.replace("localhost:8000", service.address))
        watcher = await Client.join(service, 7)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", str(script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            assert (await watcher.hear())["display_name"] == "laptop"
            assert process.stdout is not None
            with anyio.fail_after(PATIENCE):
                assert b"'virtual_ip': '100.64.0.2'" in await process.stdout.readline()
        finally:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_what_a_document_links_to_is_there(document: str) -> None:
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []


def test_the_make_targets_and_commands_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target for targets in re.findall(r"`make\s([a-z ]+)`|    make ([a-z]+)", README) for target in targets if target
    }
    assert {target for names in named for target in names.split()} <= targets
    assert (ROOT / "docker" / "Dockerfile").exists()


def test_the_tests_that_the_page_on_reliability_names_exist() -> None:
    named = re.findall(
        r"`((?:unit/|nats/|cluster/)?[a-z_/*]+(?:\.py|/))`", (ROOT / "docs" / "reliability.md").read_text()
    )
    assert len(named) > 20
    folders = (ROOT / "tests", ROOT / "tests" / "integration")
    assert [name for name in named if not any(list(folder.glob(name)) for folder in folders)] == []


async def test_the_metrics_are_listed() -> None:
    async with running() as service:
        StoreTelemetry(service.container.telemetry())  # What a node on NATS counts besides.
        metrics = list(service.container.telemetry().registry.collect())
        ours = {metric.name.removeprefix("wg_orchestrator_"): metric for metric in metrics if "orch" in metric.name}
        listed = re.findall(
            r"^\| `([a-z_]+?)(?:_total(?:\{(?:reason|outcome)\})?)?` \| (.*) \|$", OPERATIONS, re.MULTILINE
        )
        assert dict(listed) == {name: metric.documentation for name, metric in ours.items()}


def test_the_page_on_the_agent_lists_the_options_of_up() -> None:
    common = {"--interface": str(DEFAULT_INTERFACE), "--state-dir": str(DEFAULT_STATE_DIR)}
    for option, default in common.items():
        assert f"`{option}` (`{default}`)" in AGENT
    listed = dict(re.findall(r"^\| `(--[a-z-]+)[^`]*` \| (?:`(\d+)`)?", AGENT, re.MULTILINE))
    options = [one for one in up.params if isinstance(one, click.Option) and one.opts[0] not in common]
    numbers = {one.opts[0]: str(one.default) if type(one.default) is int else "" for one in options}
    assert listed == numbers


def test_the_page_on_the_agent_shows_what_status_prints() -> None:
    (example,) = re.findall(r'^    (\{"interface".*?)\n\n', AGENT, re.MULTILINE | re.DOTALL)
    shown = json.loads(example)
    assert list(shown) == [field.name for field in fields(Status)]
    assert list(shown["peers"][0]) == [field.name for field in fields(PeerStatus)]
