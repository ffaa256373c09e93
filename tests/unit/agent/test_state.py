"""What an agent keeps on its machine, and how commands speak with it."""

import asyncio
import os
import stat
from ipaddress import ip_address
from pathlib import Path

import anyio
import pytest

from wg_orchestrator.agent.control import answering, ask, ended
from wg_orchestrator.agent.errors import EnvironmentFault, NotRunning
from wg_orchestrator.agent.state_dir import StateDir
from wg_orchestrator.agent.unit import unit
from wg_orchestrator.client.keys import KeyPair

URL = "wss://vpn.example.com/tenants/acme"
ADDRESS = ip_address("100.64.0.3")


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state", "wgo0")
    state.open()
    return state


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_private_key_is_made_once_and_is_for_its_owner_alone(state: StateDir, tmp_path: Path) -> None:
    pair = state.key_pair()
    assert state.key_pair() == pair
    assert KeyPair.of(pair.private) == pair
    assert (rights(tmp_path / "state"), rights(tmp_path / "state" / "wgo0.key")) == (0o700, 0o600)
    assert pair.private not in repr(pair)


def test_loose_rights_are_tightened(state: StateDir, tmp_path: Path) -> None:
    state.key_pair()
    for path, loose in ((tmp_path / "state", 0o755), (tmp_path / "state" / "wgo0.key", 0o644)):
        path.chmod(loose)
    again = StateDir(tmp_path / "state", "wgo1")
    again.open()
    state.key_pair()
    assert (rights(tmp_path / "state"), rights(tmp_path / "state" / "wgo0.key")) == (0o700, 0o600)


def test_a_directory_that_is_for_other_things_too_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("")
    tmp_path.chmod(0o755)
    with pytest.raises(EnvironmentFault, match="a directory of its own"):
        StateDir(tmp_path, "wgo0").open()
    assert rights(tmp_path) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_directory_or_a_key_of_another_user_is_not_used(state: StateDir, tmp_path: Path) -> None:
    state.key_pair()
    os.chown(tmp_path / "state" / "wgo0.key", 65534, 65534)
    with pytest.raises(EnvironmentFault, match="another user"):
        state.key_pair()
    os.chown(tmp_path / "state", 65534, 65534)
    with pytest.raises(EnvironmentFault, match="another user"):
        StateDir(tmp_path / "state", "wgo1").open()


def test_a_file_that_is_no_key_is_not_replaced(state: StateDir, tmp_path: Path) -> None:
    path = tmp_path / "state" / "wgo0.key"
    path.write_text("precious\n")
    with pytest.raises(EnvironmentFault, match="no private key"):
        state.key_pair()
    assert path.read_text() == "precious\n"


def test_one_interface_has_one_agent(state: StateDir, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="already"):
        StateDir(tmp_path / "state", "wgo0").open()
    StateDir(tmp_path / "state", "wgo1").open()


def test_the_session_is_kept_for_its_tenant_alone(state: StateDir, tmp_path: Path) -> None:
    assert state.session(URL) == ("", None)
    state.keep_session(URL, "secret", ADDRESS)
    assert state.session(URL) == ("secret", ADDRESS)
    assert state.session(URL + "2") == ("", None)
    assert rights(tmp_path / "state" / "wgo0.session") == 0o600
    state.forget_session()
    assert state.session(URL) == ("", ADDRESS)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"url": 3}', '{"url": "%s", "session": "s", "virtual_ip": "x"}'.replace("%s", URL)]
)
def test_a_session_that_can_not_be_read_is_as_good_as_none(state: StateDir, tmp_path: Path, text: str) -> None:
    (tmp_path / "state" / "wgo0.session").write_text(text)
    assert state.session(URL) == ("", None)
    state.forget_session()
    state.keep_session(URL, "secret", ADDRESS)
    assert state.session(URL) == ("secret", ADDRESS)


async def test_a_command_gets_its_answer_and_an_unknown_one_none(tmp_path: Path) -> None:
    async def answer(command: str) -> object:
        return {"status": [1, 2]}[command]

    socket = tmp_path / "socket"
    async with answering(socket, answer):
        assert await ask(socket, "status") == [1, 2]
        for unknown in ("reboot", ""):
            with pytest.raises(NotRunning):
                await ask(socket, unknown)
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write(b"[1]\n")
        assert await reader.read() == b""
        writer.close()
        assert await ask(socket, "status") == [1, 2]
    await ended(socket)
    assert not socket.exists()
    with pytest.raises(NotRunning):
        await ask(socket, "status")


async def test_one_who_says_nothing_does_not_delay_the_end(tmp_path: Path) -> None:
    async def answer(_: str) -> object:
        return True

    socket = tmp_path / "socket"
    async with answering(socket, answer):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(socket)
        assert await ask(socket, "status") is True
    with anyio.fail_after(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_socket_that_a_killed_agent_has_left_is_used_again(tmp_path: Path) -> None:
    async def answer(_: str) -> object:
        return True

    socket = tmp_path / "socket"
    server = await asyncio.start_unix_server(lambda *_: None, socket)
    server.close()
    with pytest.raises(NotRunning):
        await ask(socket, "status")
    async with answering(socket, answer):
        assert await ask(socket, "status") is True


def test_the_unit_runs_the_command_with_one_capability_and_without_root() -> None:
    text = unit(URL, ["/opt/wg-orchestrator", "up", URL, "--name", "100% $HOME", 'a "b"'])
    assert (
        'ExecStart=/opt/wg-orchestrator up wss://vpn.example.com/tenants/acme --name "100%% $$HOME" "a \\"b\\""' in text
    )
    lines = text.splitlines()
    for line in ("DynamicUser=yes", "AmbientCapabilities=CAP_NET_ADMIN", "CapabilityBoundingSet=CAP_NET_ADMIN"):
        assert line in lines
    assert "KillMode=process" in lines
