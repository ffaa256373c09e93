"""The event stream of one node, and the command that prints it."""

import asyncio
import json
import sys
from pathlib import Path

import anyio
import httpx2
import pytest

from harness.invitations import bearer
from harness.keys import a_key_text
from tests.integration.event_reader import Reader
from tests.integration.service import PATIENCE, Client, refused
from tests.integration.test_operators import TOKEN, operated, problem
from tests.integration.v2_client import V2Client


async def test_it_tells_what_happens_in_the_order_in_which_it_does(tmp_path: Path) -> None:
    async with (
        operated(tmp_path, grace=60, update_interval=0.01) as (service, api),
        Reader().reading(str(api.base_url).rstrip("/"), bearer(TOKEN)) as reader,
    ):
        peer = await V2Client.join(service, 1, display_name="phone \U0001f98a")
        await reader.until(1)
        await peer.say({"type": "update", "display_name": "laptop"})
        await reader.until(2)
        back = await peer.resume(service, display_name="laptop")
        await reader.until(3)
        assert (await api.delete(f"/v1/tenants/acme/peers/{peer.virtual_ip}")).status_code == 204
        events = await reader.until(4)
        assert [name for name, _ in events] == ["joined", "updated", "resumed", "left"]
        assert set(events[0][1]) == {
            "at", "tenant", "revision", "display_name", "public_key", "virtual_ip", "cause", "node",
        }  # fmt: skip
        assert [data["display_name"] for _, data in events] == ["phone \U0001f98a", "laptop", "laptop", "laptop"]
        assert [data["cause"] for _, data in events] == [None, None, None, "put out"]
        assert {data["public_key"] for _, data in events} == {a_key_text(1)}
        assert [data["node"] for _, data in events] == ["node-1", None, None, None]
        revisions = [data["revision"] for _, data in events]
        assert revisions == sorted(set(revisions))
        assert back.session not in str(events)


async def test_one_tenant_can_be_asked_for(tmp_path: Path) -> None:
    async with (
        operated(tmp_path) as (service, api),
        Reader(tenant="globex").reading(str(api.base_url).rstrip("/"), bearer(TOKEN)) as reader,
    ):
        for number, tenant in enumerate(["acme", "globex", "acme", "globex"], 1):
            await Client.join(service, number, tenant)
        events = await reader.until(2)
        assert [data["tenant"] for _, data in events] == ["globex", "globex"]
        await problem(api, "GET", "/v1/events?tenant=a%20b", 422)


async def test_who_has_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api):
        reader, base, expected = Reader(), str(api.base_url).rstrip("/"), list[str]()
        for number in range(1, 7):
            async with reader.reading(base, bearer(TOKEN)):
                await Client.join(service, 10 * number)
                expected.append(f"peer-{10 * number}")
                await reader.until(len(expected))
            await Client.join(service, 10 * number + 1)  # Nobody reads.
            expected.append(f"peer-{10 * number + 1}")
        async with reader.reading(base, bearer(TOKEN)):
            events = await reader.until(len(expected))
        assert [data["display_name"] for _, data in events] == expected
        assert {name for name, _ in events} == {"joined"}


@pytest.mark.parametrize("last_id", ["nonsense", "0:1:acme", ""])
async def test_an_id_that_is_not_known_is_told_as_a_gap_first(tmp_path: Path, last_id: str) -> None:
    async with operated(tmp_path) as (service, api):
        await Client.join(service, 1)
        reader = Reader()
        reader.last_id = last_id
        async with reader.reading(str(api.base_url).rstrip("/"), bearer(TOKEN)):
            await Client.join(service, 2)
            events = await reader.until(2 if last_id else 1)
        assert [name for name, _ in events] == (["gap", "joined"] if last_id else ["joined"])
        assert events[-1][1]["display_name"] == "peer-2"


async def test_the_command_prints_it_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api):
        port = api.base_url.port
        words = ("events", "--admin", str(api.base_url), "--admin-token-file", "token", "--json")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wg_orchestrator", *words), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            peer, number = await first_line(service, process.stdout)
            assert (peer["event"], peer["tenant"]) == ("joined", "acme")
            await service.stop()
            async with operated(tmp_path, admin_port=port) as (again, _):
                with anyio.fail_after(PATIENCE):
                    while (line := json.loads(await process.stdout.readline()))["event"] != "gap":
                        assert line["event"] in ("joined", "left")
                await Client.join(again, number + 1)
                with anyio.fail_after(PATIENCE):
                    assert json.loads(await process.stdout.readline())["event"] == "joined"
        finally:
            process.kill()
            await process.communicate()


async def test_the_command_prints_who_was_refused(tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api):
        words = ("events", "--admin", str(api.base_url), "--admin-token-file", "token")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wg_orchestrator", *words), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            reading = asyncio.create_task(process.stdout.readline())
            with anyio.fail_after(PATIENCE):
                while not reading.done():
                    assert await refused(service, "no join") == (4501, "malformed join")
                    await asyncio.wait([reading], timeout=0.1)
            _, *told = reading.result().decode().split(" ")
            assert " ".join(told) == "acme refused (malformed join) node-1\n"
        finally:
            process.kill()
            await process.communicate()


async def first_line(service: object, output: asyncio.StreamReader) -> tuple[dict[str, object], int]:
    """Let peers join until the command, which takes its time to start, has printed one. Returns that, and how many."""
    reading = asyncio.create_task(output.readline())
    number = 0
    with anyio.fail_after(PATIENCE):
        while not reading.done():
            number += 1
            await Client.join(service, number)  # type: ignore[arg-type]
            await asyncio.wait([reading], timeout=0.1)
    return json.loads(reading.result()), number


async def test_without_the_token_there_is_no_stream(tmp_path: Path) -> None:
    async with operated(tmp_path) as (_, api), httpx2.AsyncClient() as client:
        assert (await client.get(f"{str(api.base_url).rstrip('/')}/v1/events")).status_code == 401
