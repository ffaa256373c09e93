"""Every setting has a range. A value beyond it stops the start with one line; at both ends the service runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import annotated_types
import click.testing
import pytest
from pydantic.fields import FieldInfo
from websockets.exceptions import WebSocketException

from tests.integration.service import join_message, running
from wg_orchestrator.cli.main import main
from wg_orchestrator.settings import Settings

NUMBERS = {name: field for name, field in Settings.model_fields.items() if field.annotation in (int, float, int | None)}
NEED_NATS = {"workers", "nats_replicas"}
NEED_A_FREE_PORT = {"admin_port", "port", "metrics_port"}


def ends(field: FieldInfo) -> tuple[Any, Any]:
    """The least and the greatest value."""
    # A setting's own bound comes after its type's bound in the metadata, and counts instead of it.
    least = [one.ge for one in field.metadata if isinstance(one, annotated_types.Ge)]
    greatest = [one.le for one in field.metadata if isinstance(one, annotated_types.Le)]
    return least[-1], greatest[-1]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(**options: str) -> str:
    """The one line that says why the start is refused."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    # The host is not this machine's: if the options were accepted, listening would fail.
    result = click.testing.CliRunner().invoke(main, ["serve", "--host", "192.0.2.1", *arguments])
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == 2, result.output
    assert len(result.output.splitlines()) == 1
    assert all(char.isprintable() for char in result.output[:-1])
    assert len(result.output) < 700
    return result.output


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_has_two_ends_and_nothing_beyond_is_accepted(name: str) -> None:
    least, greatest = ends(NUMBERS[name])
    beyond = [least - 1, greatest + 1, -(10**20), 10**20, 10**400, "nan", "inf", "-inf", "1e999", "-1e-999x"]
    for value in [*beyond, "", "x", "\x1b[31m", "9" * 5000, "0x10", "1 2", "[]"]:
        assert refused(**{name: str(value)}).startswith(f"wg-orchestrator: {name}: ")


@pytest.mark.parametrize("end", [0, 1], ids=["least", "greatest"])
@pytest.mark.parametrize("name", sorted(NUMBERS.keys() - NEED_NATS - NEED_A_FREE_PORT))
async def test_the_service_runs_at_either_end_of_each_range(
    name: str, end: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(**{name: ends(NUMBERS[name])[end]}) as service:
        try:
            websocket = await service.connect()
            await websocket.send(join_message(1))
            await websocket.recv()
        except (OSError, WebSocketException):
            pass  # At such a bound the service may refuse every peer.
        service.server.force_exit = True
    assert [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"] == []


def test_the_greatest_number_of_workers_is_accepted_if_their_metrics_ports_are_valid() -> None:
    assert Settings(workers=ends(NUMBERS["workers"])[1], nats_url="nats://h").workers == 256
    assert "metrics_port" in refused(workers="3", nats_url="nats://h", metrics_port="65534")


OTHERS: dict[str, list[str]] = {
    "host": ["", " ", "a b", "a..b", "x" * 64, "\x1b[2J", "a\nb"],
    "metrics_host": ["", "a..b"],
    "network": ["", "x", "10.0.0.0/99", "10.0.0.1/8", "::/129", "x" * 10_000],
    "trusted_proxies": ["x", "10.0.0.0/8,,x", "10.0.0.1/8"],
    "allowed_hosts": ["a b", "a:8000", "http://a", "a/b", "[::1]x"],
    "rendezvous_endpoint": ["x", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "a:1", "10.0.0.1:1,x", "10.0.0.1:51820"],
    "oidc_issuer": [
        "", "x", "ftp://a", "http://a", "https://", "https://u:p@a", "https://a:0", "https://a#x", "https://a", "//a",
    ],
    "oidc_audience": ["", "vpn"],
    "oidc_tenants": ["", "tenants"],
    "node_name": ["", "a b", "a/b", "x" * 65, "\x1b"],
    "admin_host": ["", "a b"],
    "admin_allowed_hosts": ["a b", "a:8000", "http://a"],
    "proof": ["", "maybe", "required"],
    "nats_url": [
        "", ",", "nats://a,", "nats://", "nats://:4222", "nats://a:99999", "nats://a:-1", "nats://a:0", "nats://a:x",
        "http://a", "ws://a", "://", "nats://[::1", "nats://a b", "nats://a..b", "a:b:c", "x" * 1000,
    ],
    "nats_stream": ["", "a.b", "a b", ">"],
    "nats_storage": ["", "tape"],
    "nats_credentials": ["", "no such file", "/"],
    "nats_tls_ca": ["no such file", "/"],
    "nats_tls_certificate": ["no such file"],
    "nats_tls_key": ["no such file", "pyproject.toml"],
    "log_level": ["", "loud", "\x1b"],
    "log_format": ["", "xml"],
}  # fmt: skip
ANY_TEXT = {"allowed_origins"}
FILES_OF_THE_START = {
    "admin_token_file",
    "invitation_keys",
    "invitation_signing_key",
    "rendezvous_key",
    "state",
    "tls_certificate",
    "tls_key",
}
FLAGS = {"trust_endpoints"}


def test_no_setting_is_forgotten_here() -> None:
    assert NUMBERS.keys() | OTHERS.keys() | ANY_TEXT | FILES_OF_THE_START | FLAGS == Settings.model_fields.keys()


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_of_a_wrong_kind_is_refused_in_one_line(name: str) -> None:
    for value in OTHERS[name]:
        assert name in refused(**{name: value})


def not_started(*options: str) -> str:
    """The one line that says why a service does not start. It is a process of its own, as it sets up its logging."""
    command = [sys.executable, "-m", "wg_orchestrator", "serve", "--port", "0", *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1), ended
    return ended.stderr.removeprefix("wg-orchestrator: ")


@pytest.mark.parametrize("content", [None, "", "\nsecond", "a b", "\xff"])
def test_a_file_without_a_token_for_operators_is_one_line(content: str | None) -> None:
    if content is not None:
        Path("token").write_bytes(content.encode("latin-1"))
    assert "token" in not_started("--admin-port", "0", "--admin-token-file", "token")


def test_operators_elsewhere_need_a_token() -> None:
    assert "admin_token_file is needed" in refused(admin_port="0", admin_host="0.0.0.0")
    assert "admin_port" in refused(workers="3", nats_url="nats://h", admin_port="65534")


def test_a_state_file_is_for_one_node() -> None:
    assert "nats_url" in refused(state="state", nats_url="nats://a")


@pytest.mark.parametrize("content", [None, "", "[]", '{"keys": []}', '{"keys": [{"kty": "RSA"}]}', "{" * 9999])
def test_a_file_without_keys_for_invitations_is_one_line(content: str | None) -> None:
    if content is not None:
        Path("keys").write_text(content)
    assert not_started("--invitation-keys", "keys").startswith("can't use the invitation keys in keys: ")


def test_a_state_file_that_is_none_is_one_line() -> None:
    Path("state").write_text("something else\n" * 1000)
    assert not_started("--state", "state").startswith("can't use the state file state: ")


def test_a_key_for_nats_needs_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    assert "nats_tls_certificate" in refused(nats_tls_key="key")


@pytest.mark.parametrize(
    "url", ["nats://a", "tls://a:1", "a", "a:4222", "nats://u:p@a:1, nats://[::1]:2", "127.0.0.1:4"]
)
def test_urls_of_nats_are_accepted(url: str) -> None:
    assert Settings(nats_url=url).nats_url == url


def test_a_password_in_a_url_is_not_repeated() -> None:
    assert "secret" not in refused(oidc_issuer="https://user:secret@a", oidc_audience="a", oidc_tenants="b")
    for url in ("nats://user:secret@a:99999", "http://user:secret@a", "nats://user:secret@", "nats://user:sec/ret@a"):
        assert "sec" not in refused(nats_url=url).replace("1 to 65535", "")


def no_file(path: Path) -> None:
    # Even root can't read this file.
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_bytes(bytes(range(256))), lambda path: path.write_bytes(b"\xff\xfeX\0=\0"), no_file],
)
def test_an_environment_file_that_can_not_be_read_is_one_line(make: Any, tmp_path: Path) -> None:
    make(tmp_path / ".env")
    assert refused().startswith("wg-orchestrator: can't read .env: ")


def test_a_folder_named_env_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert Settings().port == 8000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_environment_file_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").touch(mode=0)
    assert "Permission denied" in refused()


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e10"])
def test_a_demo_that_would_not_end_is_refused(seconds: str) -> None:
    result = click.testing.CliRunner().invoke(main, ["demo", "--seconds", seconds])
    assert result.exit_code == 2
    assert "--seconds" in result.output
