"""`keygen`, `invite` and `revoke`, and how clients are told what lets them in."""

import asyncio
import base64
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import click.testing
import pytest

from harness.invitations import Inviter, bearer
from harness.keys import a_key_text
from tests.integration.service import PATIENCE, Client, join_message, refused, running
from tests.integration.test_cli import Command
from wg_orchestrator.cli.main import main
from wg_orchestrator.client import JoinRefused, Lost, Member, tokens
from wg_orchestrator.client.tokens import NoToken


def run(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, arguments)


async def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run it in a process of its own: it sets up the logging of its process."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "wg_orchestrator", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def parts(token: str) -> list[dict[str, Any]]:
    """The header and the claims."""
    return [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    result = run("keygen", str(tmp_path / "key"))
    assert result.exit_code == 0, result.output
    return tmp_path / "key"


def test_keygen_makes_two_files_and_prints_the_id(key: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    key_id = run("keygen", str(again)).stdout.strip()
    pem, (jwk,) = again.read_text(), json.loads(Path(f"{again}.pub").read_text())["keys"]
    assert stat.S_IMODE(again.stat().st_mode) == 0o600
    assert pem.startswith("-----BEGIN PRIVATE KEY-----")
    assert set(jwk) == {"kty", "crv", "kid", "x", "alg"}
    assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["kid"]) == ("OKP", "Ed25519", "EdDSA", key_id)
    assert key_id != json.loads(Path(f"{key}.pub").read_text())["keys"][0]["kid"]


@pytest.mark.parametrize("name", ["key", "key.pub"])
def test_keygen_overwrites_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    result = run("keygen", str(tmp_path / "key"))
    assert result.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_keygen_says_in_one_line_where_it_can_not_write(tmp_path: Path) -> None:
    result = run("keygen", str(tmp_path / "no" / "key"))
    assert (result.exit_code, len(result.output.splitlines())) == (1, 1)


def test_invite_prints_the_token_and_the_command_and_the_id_elsewhere(key: Path) -> None:
    options = ["--tenant", "acme", "--name", "laptop", "--uses", "2", "--expires", "90m", "--stay", "30d"]
    result = run("invite", "--key", str(key), *options, "--url", "wss://vpn.example.com/")
    assert result.exit_code == 0, result.output
    token, line = result.stdout.splitlines()
    header, claims = parts(token)
    assert header == {"alg": "EdDSA", "typ": "JWT", "kid": json.loads(Path(f"{key}.pub").read_text())["keys"][0]["kid"]}
    assert claims["exp"] - claims["iat"] == 90 * 60
    assert claims | {"jti": "", "iat": 0, "exp": 0} == {
        "tenant": "acme", "jti": "", "iat": 0, "exp": 0, "aud": "wg-orchestrator", "name": "laptop", "uses": 2,
        "stay": 30 * 86_400,
    }  # fmt: skip
    assert line == f"wg-orchestrator up wss://vpn.example.com/tenants/acme --invitation {token}"
    assert result.stderr == f"invitation {claims['jti']}\n"


def test_without_options_an_invitation_is_for_a_day_and_any_number(key: Path) -> None:
    result = run("invite", "--key", str(key), "--tenant", "acme")
    _, claims = parts(result.stdout.strip())
    assert set(claims) == {"tenant", "jti", "iat", "exp", "aud"}
    assert claims["exp"] - claims["iat"] == 86_400


@pytest.mark.parametrize(
    "options",
    [
        ["--tenant", "a b"],
        ["--tenant", "acme", "--name", ""],
        ["--tenant", "acme", "--uses", "0"],
        ["--tenant", "acme", "--uses", "1.5"],
        ["--tenant", "acme", "--expires", "24"],
        ["--tenant", "acme", "--expires", "0h"],
        ["--tenant", "acme", "--stay", "-1d"],
        ["--tenant", "acme", "--stay", "1w"],
        ["--tenant", "acme", "--url", "https://vpn.example.com"],
        ["--tenant", "acme", "--url", "wss://a b"],
        ["--tenant", "acme", "--url", "wss://a?x=1"],
        [],
    ],
    ids=" ".join,
)
def test_what_an_invitation_can_not_say_is_usage(key: Path, options: list[str]) -> None:
    assert run("invite", "--key", str(key), *options).exit_code == 2


@pytest.mark.parametrize("fault", ["absent", "open", "text", "public", "rsa", "locked"])
def test_a_key_that_can_not_be_used_is_one_line_without_the_key(key: Path, tmp_path: Path, fault: str) -> None:
    file = key
    match fault:
        case "absent":
            file = tmp_path / "none"
        case "open":
            key.chmod(0o640)
        case "text":
            key.write_text("secret text")
        case "public":
            file = Path(f"{key}.pub")
            file.chmod(0o600)
        case "rsa":
            subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        case _:
            locked = ["openssl", "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", str(key)]
            subprocess.run(locked, check=True, capture_output=True)
    result = run("invite", "--key", str(file), "--tenant", "acme")
    assert (result.exit_code, len(result.output.splitlines())) == (1, 1)
    assert "secret" not in result.output
    assert "PRIVATE" not in result.output


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--invitation", "x"],
        ["--state", "FILE"],
        ["--invitation", "x", "--public-key", a_key_text(1), "--state", "FILE"],
        ["--invitation", "x", "--tenant", "acme", "--state", "FILE"],
        ["--invitation", "a b", "--state", "FILE"],
        ["--public-key", "x", "--state", "FILE"],
        ["--public-key", a_key_text(1), "--tenant", "a b", "--state", "FILE"],
        ["--public-key", a_key_text(1), "--for", "soon", "--state", "FILE"],
        ["--public-key", a_key_text(1), "--state", "FILE", "--nats", "nats://a"],
        ["--public-key", a_key_text(1), "--nats", "http://a"],
    ],
    ids=" ".join,
)
def test_what_can_not_be_revoked_is_usage(options: list[str]) -> None:
    assert run("revoke", *options).exit_code == 2


@pytest.mark.parametrize("fault", ["absent", "text"])
async def test_a_state_file_that_can_not_be_used_is_one_line(tmp_path: Path, fault: str) -> None:
    if fault == "text":
        (tmp_path / "state").write_text("something else\n" * 999)
    result = await command("revoke", "--invitation", "x", "--state", str(tmp_path / "state"))
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert (tmp_path / "state").exists() == (fault == "text")


async def test_from_the_key_to_the_end_by_commands_alone(key: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    options: dict[str, Any] = {"invitation_keys": Path(f"{key}.pub"), "state": state}
    async with running(**options) as service:
        result = await command("invite", "--key", str(key), "--tenant", "acme", "--uses", "1", "--name", "guest")
        token, invitation = result.stdout.strip(), result.stderr.split()[1]
        guest = await Client.join(service, 1, headers=bearer(token))
        other = (await command("invite", "--key", str(key), "--tenant", "acme")).stdout.strip()
        member = await Client.join(service, 2, headers=bearer(other))
        assert [peer["display_name"] for peer in member.roster.peers.values()] == ["guest"]
        result = await command("revoke", "--invitation", invitation, "--state", str(state), "--json")
        assert result.returncode == 0, result.stderr
        receipt = json.loads(result.stdout)
        assert set(receipt) == {"id", "put_out", "nodes", "applied"}
        assert (receipt["put_out"], receipt["nodes"]) == (1, 1)
        assert receipt["applied"]["since"].endswith("Z")
        assert (receipt["applied"]["by"], receipt["applied"]["of"]) == (0, 0)
        assert await guest.closed() == (1008, "revoked")
        result = await command("revoke", "--public-key", a_key_text(2), "--for", "1h", "--state", str(state))
        assert "1 put out, known to 1 nodes, applied by 0 of 0 since " in result.stdout
        assert await member.closed() == (1008, "revoked")
    # Without a service it is stored all the same, and one that starts then keeps to it.
    result = await command("revoke", "--public-key", a_key_text(3), "--state", str(state))
    assert (result.returncode, "no service has said" in result.stdout) == (0, True)
    async with running(**options) as service:
        for number in (2, 3):
            shown = bearer(other)
            assert await refused(service, join_message(number), additional_headers=shown) == (1008, "revoked")
        assert await refused(service, join_message(1), additional_headers=bearer(token)) == (1008, "revoked")


@pytest.fixture
def inviter() -> Inviter:
    return Inviter()


@pytest.mark.parametrize("protocol", ["v1", "v2"])
@pytest.mark.parametrize("way", ["option", "file", "command", "environment"])
async def test_join_shows_its_token_whichever_way_it_has_it(
    inviter: Inviter, tmp_path: Path, way: str, protocol: str
) -> None:
    token, file = inviter.token(), tmp_path / "token"
    file.write_text(f"{token}\n")
    async with running(invitation_keys=inviter.write_keys(tmp_path / "keys")) as service:
        watcher = await Client.join(service, 1, headers=bearer(inviter.token()))
        options, environment = {
            "option": (["--invitation", token], {}),
            "file": (["--invitation-file", str(file)], {}),
            "command": (["--token-command", f"cat '{file}'"], {}),
            "environment": ([], {"WG_ORCHESTRATOR_INVITATION": token}),
        }[way]
        arguments = ["join", service.url(), "--name", "it", "--json", "--protocol", protocol, *options]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wg_orchestrator", *arguments),
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert (await watcher.hear())["display_name"] == "it"
        finally:
            process.kill()
            await process.wait()


async def test_join_says_in_one_line_that_it_is_not_admitted(inviter: Inviter, tmp_path: Path) -> None:
    async with running(invitation_keys=inviter.write_keys(tmp_path / "keys")) as service:
        for code, options in (
            (401, []),
            (403, ["--invitation", inviter.token(tenant="globex")]),
            (401, ["--invitation", "nonsense", "--protocol", "v2"]),
        ):
            result = await command("join", service.url(), "--json", *options)
            assert result.returncode == 1
            assert f"HTTP {code} " in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "options",
    [
        ["--invitation", ""],
        ["--invitation", "a b"],
        ["--invitation", "a\r\nx: y"],
        ["--invitation", "x" * 9000],
        ["--invitation", "x", "--invitation-file", "y"],
        ["--token-command", ""],
        ["--token-command", "'"],
    ],
)
def test_what_is_no_token_is_usage(options: list[str]) -> None:
    assert run("join", "ws://127.0.0.1:1/tenants/acme", *options).exit_code == 2
    assert run("up", "ws://127.0.0.1:1/tenants/acme", *options).exit_code == 2


def scripted(tmp_path: Path, text: str) -> str:
    script = tmp_path / "script"
    script.write_text(text)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"


@pytest.mark.parametrize(
    "script",
    [
        "raise SystemExit(1)",
        "pass",
        "print('a b')",
        "print('x' * 10**6)",
        "import sys; sys.stdout.buffer.write(b'\\xff')",
    ],
)
async def test_a_command_that_prints_no_token_is_told_without_what_it_prints(tmp_path: Path, script: str) -> None:
    with pytest.raises(NoToken) as fault:
        await tokens.from_command(scripted(tmp_path, script))()
    assert "xxx" not in str(fault.value)


async def test_files_and_commands_that_are_not_there_are_told(tmp_path: Path) -> None:
    for source in (tokens.from_file(tmp_path / "none"), tokens.from_command("/no/such/program")):
        with pytest.raises(NoToken):
            await source()
    (tmp_path / "empty").touch()
    with pytest.raises(NoToken, match="has no token in it"):
        await tokens.from_file(tmp_path / "empty")()


async def test_a_file_is_read_anew_for_each_connection(inviter: Inviter, tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with running(invitation_keys=inviter.write_keys(tmp_path / "keys"), state=tmp_path / "state") as service:
        member = Member(service.url(), "it", a_key_text(1), token=tokens.from_file(file), proxy=None)
        events = member.follow()
        lost = await anext(events)
        assert isinstance(lost, Lost)
        assert "can't read the token" in lost.cause
        file.write_text(inviter.token())
        with anyio.fail_after(PATIENCE):
            while isinstance(await anext(events), Lost):
                pass
        assert len(service.roster()) == 1
        file.write_text(inviter.token(tenant="globex"))
        member.reconnect()
        with pytest.raises(JoinRefused, match="403"):
            await exhausted(events)


async def exhausted(events: AsyncIterator[object]) -> None:
    async for _ in events:
        pass


async def test_a_token_goes_to_no_other_place(inviter: Inviter) -> None:
    """Redirects are not followed."""
    heads = list[bytes]()

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 302 Found\r\nlocation: ws://127.0.0.1:{port}/tenants/acme\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"ws://127.0.0.1:{port}/tenants/acme"
        member = Member(url, "it", a_key_text(1), token=tokens.given(inviter.token()), proxy=None)
        with pytest.raises(JoinRefused):
            await anext(member.follow())
    assert len(heads) == 1


def test_a_unit_has_no_invitation_in_it_but_where_it_is() -> None:
    url = "wss://vpn.example.com/tenants/acme"
    assert run("unit", url, "--invitation", "x").exit_code == 2
    assert run("unit", url, "--invitation=x").exit_code == 2
    text = run("unit", url, "--invitation-file", "/etc/wg orchestrator/invitation").stdout
    assert "\nLoadCredential=invitation:/etc/wg orchestrator/invitation\n" in text
    assert text.split("ExecStart=")[1].splitlines()[0].endswith("--invitation-file %d/invitation")
    assert "LoadCredential" not in run("unit", url).stdout


@pytest.mark.parametrize(
    ("host", "is_asked", "warns"), [("0.0.0.0", False, 1), ("127.0.0.1", False, 0), ("::", True, 0)]
)
def test_an_open_service_warns_in_one_line_unless_only_this_machine_reaches_it(
    tmp_path: Path, inviter: Inviter, host: str, is_asked: bool, warns: int
) -> None:
    options = ["--invitation-keys", str(inviter.write_keys(tmp_path / "keys"))] if is_asked else []
    with Command(tmp_path, "serve", "--host", host, "--port", "0", *options) as process:
        process.line(" serving ")
        process.stop(signal.SIGTERM)
        lines = [line for line in process.output.splitlines() if "everybody who reaches this address may join" in line]
        assert len(lines) == warns
        assert all("warning" in line for line in lines)
