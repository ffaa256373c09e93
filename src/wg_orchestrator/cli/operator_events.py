"""What `events` prints."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from wg_orchestrator.cli.operators_api import Lost, OperatorsApi
from wg_orchestrator.client.delays import retry_delays
from wg_orchestrator.client.terminal import visible


def show_events(admin: str, token_file: Path | None, tenant: str | None, as_json: bool) -> None:
    """Until Ctrl-C."""
    api = OperatorsApi(admin, token_file)
    query = {} if tenant is None else {"tenant": tenant}
    last_id, was_there, delays = "", False, retry_delays()
    try:
        while True:
            try:
                for event, data, at in _parsed(api.lines("events", last_id=last_id, **query), last_id):
                    last_id, was_there, delays = at, True, retry_delays()
                    if event:
                        _print(event, data, as_json)
            except Lost as lost:
                if not was_there:
                    raise
                click.echo(f"{visible(str(lost))}; trying again", err=True)
            time.sleep(next(delays))
    except KeyboardInterrupt:
        return
    except Lost as lost:
        lost.fail()


def _parsed(lines: Iterator[str], last_id: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The events of a stream: their names, their data, and the id that each is to be gone on after. One without a name
    says only where the stream begins.
    """
    event, data = "", ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            last_id = value
        elif name == "event":
            event = value
        elif name == "data":
            data = value
        elif not line:
            yield event, json.loads(data or "{}"), last_id
            event, data = "", ""


def _print(event: str, data: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"event": event, **data}))
    elif event == "gap":
        click.echo(f"{data['at']} gap: events may be missing here")
    else:
        cause = f" ({data['cause']})" if data["cause"] else ""
        node = data["node"] if data["virtual_ip"] is None else None
        parts = (data["at"], data["tenant"], f"{event}{cause}", data["virtual_ip"], data["display_name"], node)
        click.echo(visible(" ".join(part for part in parts if part is not None)))
    sys.stdout.flush()
