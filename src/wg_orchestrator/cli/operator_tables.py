"""What the operators' commands print."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wg_orchestrator.cli.operators_api import OperatorsApi
from wg_orchestrator.client.terminal import visible


def show_tenants(admin: str, token_file: Path | None, as_json: bool) -> None:
    answer = OperatorsApi(admin, token_file).all("tenants", "tenants")
    if as_json:
        click.echo(json.dumps(answer))
        return
    rows = [
        [one["tenant"], str(one["peers"]), str(one["revision"]), _applied(one["applied"])] for one in answer["tenants"]
    ]
    _print(["tenant", "peers", "revision", "applied"], rows, answer)


def show_peers(admin: str, token_file: Path | None, tenant: str, as_json: bool) -> None:
    answer = OperatorsApi(admin, token_file).all("peers", "tenants", tenant, "peers")
    if as_json:
        click.echo(json.dumps(answer))
        return
    columns = ["virtual IP", "name", "protocol", "node", "source", "since", "applied", "proven", "invitation"]
    rows = [
        [
            one["virtual_ip"],
            one["display_name"],
            one["protocol"] or "away",
            one["node"] or "",
            one["source"] or "",
            one["since"] or "",
            "" if one["applied"] is None else str(one["applied"]),
            "yes" if one["proven"] else "",
            one["invitation"] or "",
        ]
        for one in answer["peers"]
    ]
    _print(columns, rows, answer)


def show_invitations(admin: str, token_file: Path | None, as_json: bool) -> None:
    answer = OperatorsApi(admin, token_file).all("invitations", "invitations")
    if as_json:
        click.echo(json.dumps(answer))
        return
    rows = [
        [
            one["id"],
            one["tenant"],
            one["name"] or "",
            f"{one['used']} of {one['uses'] or 'any'}",
            one["expires"],
            "revoked" if one["revoked"] else "",
        ]
        for one in answer["invitations"]
    ]
    _print(["id", "tenant", "name", "used", "expires", ""], rows, answer)


def show_history(admin: str, token_file: Path | None, tenant: str, address: str, at: str | None, as_json: bool) -> None:
    query = {"virtual_ip": address, **({} if at is None else {"at": at})}
    answer = OperatorsApi(admin, token_file).all("holders", "tenants", tenant, "history", **query)
    if as_json:
        click.echo(json.dumps(answer))
        return
    rows = [
        [one["from"], one["to"] or "", one["display_name"], one["public_key"], one["cause"] or ""]
        for one in answer["holders"]
    ]
    _print(["from", "to", "name", "public key", "cause"], rows, answer)


def kick_peer(admin: str, token_file: Path | None, tenant: str, address: str, as_json: bool) -> None:
    OperatorsApi(admin, token_file).delete("tenants", tenant, "peers", address)
    click.echo("{}" if as_json else f"{visible(address)} is out of {visible(tenant)}; it may come back")


def _applied(applied: dict[str, Any]) -> str:
    text = f"by {applied['by']} of {applied['of']}"
    if applied["behind"]:
        first = applied["behind"][0]
        text += f"; {first['display_name']} is at {first['revision']} since {first['since']}"
    return text


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]], answer: dict[str, Any]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(visible(text)) for text in row))
    if rows:
        # Wider than any terminal if that is no terminal: a script is to find each row in one line.
        console = Console()
        (console if console.is_terminal else Console(width=1000)).print(table)
    if answer["nodes"]["silent"]:
        click.echo(f"silent nodes: {visible(', '.join(answer['nodes']['silent']))}", err=True)
