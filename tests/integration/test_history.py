"""Who held an address, when: by the operators' API and by the command, also after the service was killed."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.integration.process import serving
from tests.integration.service import PATIENCE, Client
from tests.integration.test_operators import command, operated, problem
from tests.integration.v2_client import V2Client

PATH = "/v1/tenants/acme/history"


async def holders(api: httpx2.AsyncClient, address: str, **query: str) -> list[dict[str, Any]]:
    answer = await api.get(PATH, params={"virtual_ip": address, **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["holders"]
    return found


async def until_written(api: httpx2.AsyncClient, address: str, count: int, is_over: bool) -> list[dict[str, Any]]:
    with anyio.fail_after(PATIENCE):
        while len(found := await holders(api, address)) < count or (found[-1]["to"] is None) is is_over:
            await anyio.sleep(0.05)
    return found


async def test_it_says_who_held_an_address_and_why_that_ended(tmp_path: Path) -> None:
    async with operated(tmp_path, state=tmp_path / "state", grace=1) as (service, api):
        client = await Client.join(service, 1, display_name="ph\u00f8ne")
        address = client.virtual_ip
        (held,) = await until_written(api, address, 1, is_over=False)
        assert set(held) == {"public_key", "display_name", "virtual_ip", "from", "to", "cause"}
        assert (held["display_name"], held["virtual_ip"], held["cause"]) == ("ph\u00f8ne", address, None)
        await client.leave()
        away = await V2Client.join(service, 2, virtual_ip=address)
        away.websocket.transport.abort()
        first, second = await until_written(api, address, 2, is_over=True)
        assert (first["cause"], second["cause"]) == ("left", "grace")
        assert first["from"] <= first["to"] <= second["from"] < second["to"]
        await V2Client.join(service, 3, virtual_ip=address)
        await api.delete(f"/v1/tenants/acme/peers/{address}")
        assert (await until_written(api, address, 3, is_over=True))[-1]["cause"] == "put out"
        # At a moment, there is one, or nobody.
        assert [one["display_name"] for one in await holders(api, address, at=second["from"])] == ["peer-2"]
        assert await holders(api, address, at=datetime(2020, 1, 1, tzinfo=timezone.utc).isoformat()) == []
        pages = await api.get(PATH, params={"virtual_ip": address, "limit": "2"})
        assert [one["display_name"] for one in pages.json()["holders"]] == ["ph\u00f8ne", "peer-2"]
        last = await holders(api, address, after=pages.json()["next"])
        assert [one["display_name"] for one in last] == ["peer-3"]
        words = ["history", "acme", "--virtual-ip", address, "--admin", str(api.base_url)]
        shown = await command(*words, "--admin-token-file", "token", folder=tmp_path)
        assert [line.split()[2] for line in shown.stdout.splitlines()[1:]] == ["ph\u00f8ne", "peer-2", "peer-3"]
        words += ["--at", second["from"], "--json", "--admin-token-file", "token"]
        (one,) = json.loads((await command(*words, folder=tmp_path)).stdout)["holders"]
        assert one == second


@pytest.mark.parametrize(
    "query",
    [{}, {"virtual_ip": "x"}, {"virtual_ip": "100.64.0.1", "at": "now"}, {"virtual_ip": ""},
     {"virtual_ip": "100.64.0.1", "at": "2026-11-27T10:00:00"}, {"virtual_ip": "100.64.0.1", "limit": "0"}],
    ids=str,
)  # fmt: skip
async def test_what_is_no_question_is_a_problem(tmp_path: Path, query: dict[str, str]) -> None:
    async with operated(tmp_path, state=tmp_path / "state") as (_, api):
        await problem(api, "GET", PATH, 422, params=query)


async def test_without_a_place_for_it_there_is_no_history(tmp_path: Path) -> None:
    async with operated(tmp_path) as (_, api):
        await problem(api, "GET", PATH, 409, params={"virtual_ip": "100.64.0.1"})


async def test_a_service_that_was_killed_has_lost_nothing_but_the_last_second(tmp_path: Path) -> None:
    with serving(tmp_path, state=tmp_path / "state") as service:
        client = await Client.join(service, 1)
        address, began = client.virtual_ip, datetime.now(timezone.utc)
        await anyio.sleep(1.1)  # It is what the promise is about.
        service.kill()
    async with operated(tmp_path, state=tmp_path / "state") as (again, api):
        (held,) = await holders(api, address)
        assert (held["display_name"], held["cause"]) == ("peer-1", "lost")
        since, to = (datetime.fromisoformat(held[end].replace("Z", "+00:00")) for end in ("from", "to"))
        assert began - timedelta(seconds=5) < since <= to <= datetime.now(timezone.utc)
        await Client.join(again, 2)
        assert [one["to"] is None for one in await until_written(api, address, 2, is_over=False)] == [False, True]
