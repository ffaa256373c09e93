"""The operators' API, over HTTP: who may ask it, what it says, and what it does."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from harness.invitations import Inviter, bearer
from harness.keys import a_key_text
from tests.integration.service import PATIENCE, Client, Service, join_message, refused, running
from tests.integration.v2_client import V2Client

TOKEN = "a-token-of-operators"


@asynccontextmanager
async def operated(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Service, httpx2.AsyncClient]]:
    """A service, and a client of its operators' API."""
    (tmp_path / "token").write_text(f"{TOKEN}\nnot this\n")
    settings = {"admin_port": 0, "admin_token_file": tmp_path / "token", "node_name": "node-1", **options}
    async with running(**settings) as service:
        base = f"http://{service.server.admin_address}"  # type: ignore[attr-defined]
        async with httpx2.AsyncClient(base_url=base, headers=bearer(TOKEN), timeout=PATIENCE) as client:
            yield service, client


async def test_it_says_who_is_in_and_from_where(tmp_path: Path) -> None:
    inviter = Inviter()
    keys = inviter.write_keys(tmp_path / "keys")
    async with operated(tmp_path, invitation_keys=keys, grace=60) as (service, api):
        old = await Client.join(service, 1, headers=bearer(inviter.token(jti="one")))
        new = await V2Client.join(service, 2, headers=bearer(inviter.token()), endpoints=["10.0.0.7:51820"])
        await V2Client.join(service, 3, headers=bearer(inviter.token()))
        await new.hear()
        await new.say({"type": "applied", "revision": new.revision})
        await until_applied(api, 1)
        answer = (await api.get("/v1/tenants/acme/peers")).json()
        assert answer["nodes"] == {"answered": ["node-1"], "silent": []}
        assert answer["next"] is None
        first, second, third = sorted(answer["peers"], key=lambda peer: str(peer["display_name"]))
        assert set(first) == {
            "display_name", "public_key", "virtual_ip", "endpoints", "proven", "protocol", "node", "source", "since",
            "applied", "invitation",
        }  # fmt: skip
        assert (first["display_name"], first["public_key"], first["virtual_ip"]) == (
            "peer-1",
            a_key_text(1),
            old.virtual_ip,
        )
        assert (first["protocol"], first["invitation"], first["applied"]) == ("v1", "one", None)
        assert (second["protocol"], second["applied"], second["source"]) == ("v2", new.revision, "127.0.0.1")
        assert (second["endpoints"], third["applied"]) == (["10.0.0.7:51820"], None)
        assert second["since"].endswith("Z")
        tenant = (await api.get("/v1/tenants/acme")).json()
        assert (tenant["tenant"], tenant["revision"], tenant["peers"]) == ("acme", new.revision, 3)
        assert (tenant["applied"]["by"], tenant["applied"]["of"]) == (1, 2)
        (behind,) = tenant["applied"]["behind"]
        assert (behind["display_name"], behind["revision"]) == ("peer-3", 0)
        assert new.session not in json.dumps(answer)


async def test_it_says_how_peers_reach_each_other(tmp_path: Path) -> None:
    async with operated(tmp_path, grace=60) as (service, api):
        await Client.join(service, 1)
        one, two = await V2Client.join(service, 2), await V2Client.join(service, 3)
        await one.say({"type": "applied", "revision": 1, "paths": {two.virtual_ip: "none", "100.127.0.9": "lan"}})
        await one.say({"type": "applied", "revision": 1, "paths": {two.virtual_ip: "direct"}})
        many = {f"100.127.1.{number}": "lan" for number in range(63)}
        await two.say({"type": "applied", "revision": 1, "paths": {one.virtual_ip: "lan"}})
        wanted = {one.virtual_ip: {two.virtual_ip: "direct"}, two.virtual_ip: {one.virtual_ip: "lan"}}
        with anyio.fail_after(PATIENCE):
            while await paths_in(api) != wanted:  # Of who is not in, nothing is said.
                await anyio.sleep(0.02)
        await two.say({"type": "applied", "revision": 1, "paths": many})
        await two.say({"type": "applied", "revision": 1, "paths": {one.virtual_ip: "none"}})
        await two.say({"type": "applied", "revision": 1, "paths": {"100.127.2.1": "lan"}})
        with anyio.fail_after(PATIENCE):
            while (await paths_in(api))[two.virtual_ip] != {one.virtual_ip: "none"}:  # Said since the others.
                await anyio.sleep(0.02)
            await two.say({"type": "applied", "revision": 1, "paths": many})
            while (await paths_in(api))[two.virtual_ip] != {}:  # Of 64 others it has said so since.
                await anyio.sleep(0.02)
        first = (await api.get("/v1/tenants/acme/paths?limit=2")).json()
        rest = (await api.get(f"/v1/tenants/acme/paths?after={first['next']}")).json()
        assert {entry["virtual_ip"] for entry in first["paths"] + rest["paths"]} == set(wanted)
        assert rest["next"] is None
        await problem(api, "GET", "/v1/tenants/globex/paths", 404)
        await problem(api, "GET", "/v1/tenants/acme/paths?after=x", 422)


async def paths_in(api: httpx2.AsyncClient) -> dict[str, dict[str, str]]:
    answer = (await api.get("/v1/tenants/acme/paths")).json()
    return {entry["virtual_ip"]: entry["paths"] for entry in answer["paths"]}


async def until_applied(api: httpx2.AsyncClient, by: int) -> None:
    with anyio.fail_after(PATIENCE):
        while (await api.get("/v1/tenants/acme")).json()["applied"]["by"] != by:
            await anyio.sleep(0.02)


async def test_lists_come_in_pages(tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api):
        for number in range(1, 6):
            await Client.join(service, number, f"tenant-{number}")
            await Client.join(service, 10 + number)
        names, after = [], ""
        while after is not None:
            page = (await api.get("/v1/tenants", params={"limit": 2, "after": after})).json()
            names += [one["tenant"] for one in page["tenants"]]
            assert len(page["tenants"]) <= 2
            after = page["next"]
        assert names == ["acme", *(f"tenant-{number}" for number in range(1, 6))]
        addresses, after = [], ""
        while after is not None:
            page = (await api.get("/v1/tenants/acme/peers", params={"limit": 2, "after": after})).json()
            addresses += [one["virtual_ip"] for one in page["peers"]]
            after = page["next"]
        assert addresses == [f"100.64.0.{number}" for number in range(1, 6)]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=" + "x" * 200])
async def test_a_page_that_can_not_be_is_a_problem(tmp_path: Path, query: str) -> None:
    async with operated(tmp_path) as (_, api):
        await problem(api, "GET", f"/v1/tenants?{query}", 422)


async def problem(api: httpx2.AsyncClient, method: str, path: str, status: int, **options: Any) -> dict[str, Any]:
    response = await api.request(method, path, **options)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert set(found) == {"type", "title", "status", "detail"}
    assert found["status"] == status
    return found


async def test_what_is_not_there_is_a_problem(tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api):
        await Client.join(service, 1)
        for method, path in (
            ("GET", "/v1/tenants/none"),
            ("GET", "/v1/tenants/none/peers"),
            ("DELETE", "/v1/tenants/acme/peers/100.64.0.9"),
            ("DELETE", "/v1/tenants/acme/peers/nonsense"),
            ("DELETE", "/v1/tenants/none/peers/100.64.0.1"),
            ("GET", "/v1/revocations/none"),
            ("DELETE", "/v1/revocations/none"),
            ("GET", "/nonsense"),
            ("GET", "/docs"),
        ):
            await problem(api, method, path, 404)
        await problem(api, "PUT", "/v1/tenants", 405)
        await problem(api, "GET", "/v1/tenants/acme/peers?after=nonsense", 422)


async def test_a_peer_that_is_put_out_may_come_back(tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api):
        watcher = await Client.join(service, 1)
        old, new = await Client.join(service, 2), await V2Client.join(service, 3)
        for address in (old.virtual_ip, new.virtual_ip):
            assert (await api.delete(f"/v1/tenants/acme/peers/{address}")).status_code == 204
        assert await old.closed() == (1008, "put out")
        assert await new.closed() == (4509, "put out")
        await watcher.until(lambda roster: not roster.peers and len(watcher.messages) == 5)
        await V2Client.join(service, 3)


async def test_revoking_by_the_api(tmp_path: Path) -> None:
    inviter = Inviter()
    keys = inviter.write_keys(tmp_path / "keys")
    async with operated(tmp_path, invitation_keys=keys, state=tmp_path / "state") as (service, api):
        token = inviter.token(jti="stolen")
        thief = await Client.join(service, 1, headers=bearer(token))
        made = await api.post("/v1/revocations", json={"invitation": "stolen", "for": 3600})
        assert made.status_code == 201
        assert set(made.json()) == {"id", "put_out", "nodes", "applied"}
        assert await thief.closed() == (1008, "revoked")
        path = f"/v1/revocations/{made.json()['id']}"
        with anyio.fail_after(PATIENCE):
            while (receipt := (await api.get(path)).json())["applied"]["since"] is None:
                await anyio.sleep(0.02)
        assert (receipt["put_out"], receipt["nodes"]) == (1, 1)
        (listed,) = (await api.get("/v1/revocations")).json()["revocations"]
        assert (listed["id"], listed["invitation"], listed["public_key"]) == (receipt["id"], "stolen", None)
        assert await refused(service, join_message(1), additional_headers=bearer(token)) == (1008, "revoked")
        assert (await api.delete(path)).status_code == 204
        await problem(api, "GET", path, 404)
        await Client.join(service, 1, headers=bearer(token))


@pytest.mark.parametrize(
    "body",
    [
        {}, [], "x", {"invitation": 7}, {"invitation": "a b"}, {"invitation": "x", "public_key": a_key_text(1)},
        {"public_key": "x"}, {"public_key": a_key_text(1), "tenant": "a b"}, {"invitation": "x", "tenant": "acme"},
        {"invitation": "x", "for": "1h"}, {"invitation": "x", "for": 0}, {"invitation": "x", "for": True},
        {"invitation": "x", "more": 1},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_revocation_is_a_problem(tmp_path: Path, body: object) -> None:
    async with operated(tmp_path) as (_, api):
        await problem(api, "POST", "/v1/revocations", 422, json=body)
        assert (await api.get("/v1/revocations")).json()["revocations"] == []


async def test_invitations_are_made_if_there_is_a_key(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from wg_orchestrator.cli.main import main

    async with operated(tmp_path) as (_, api):
        await problem(api, "POST", "/v1/invitations", 409, json={"tenant": "acme"})
    key = tmp_path / "key"
    assert CliRunner().invoke(main, ["keygen", str(key)]).exit_code == 0
    options = {"invitation_signing_key": key, "invitation_keys": Path(f"{key}.pub"), "state": tmp_path / "state"}
    async with operated(tmp_path, **options) as (service, api):
        wanted = {"tenant": "acme", "name": "printer", "uses": 1, "expires": 60, "stay": 3600}
        made = await api.post("/v1/invitations", json=wanted)
        assert made.status_code == 201
        watcher = await Client.join(service, 1, headers=bearer(made.json()["token"]))
        assert [one.peer.display_name for one in service.container.tenants().get("acme").stays] == ["printer"]
        (peer,) = (await api.get("/v1/tenants/acme/peers")).json()["peers"]
        assert peer["invitation"] == made.json()["id"]
        unused = (await api.post("/v1/invitations", json={"tenant": "globex"})).json()["id"]
        await api.post("/v1/revocations", json={"invitation": unused})
        listed = {one["id"]: one for one in (await api.get("/v1/invitations")).json()["invitations"]}
        assert set(listed) == {peer["invitation"], unused}
        used = listed[peer["invitation"]]
        assert (used["tenant"], used["name"], used["uses"], used["used"], used["revoked"]) == (
            "acme",
            "printer",
            1,
            1,
            False,
        )
        assert (listed[unused]["uses"], listed[unused]["used"], listed[unused]["revoked"]) == (None, 0, True)
        shown = await command(
            "invitations", "--admin", str(api.base_url), "--admin-token-file", "token", folder=tmp_path
        )
        assert "1 of 1" in shown.stdout, shown.stderr
        for body in ({}, {"tenant": "a b"}, {"tenant": "acme", "uses": 0}, {"tenant": "acme", "name": ""}):
            await problem(api, "POST", "/v1/invitations", 422, json=body)
        await watcher.leave()


async def test_nodes_are_listed(tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api):
        await Client.join(service, 1)
        (node,) = (await api.get("/v1/nodes")).json()["nodes"]
        assert (node["node"], node["state"], node["peers"]) == ("node-1", "up", 1)


PATHS = ["/v1/tenants", "/v1/tenants/acme/peers", "/v1/nodes", "/v1/revocations", "/v1/openapi.json", "/nonsense"]


@pytest.mark.parametrize("path", PATHS)
async def test_without_the_right_token_nothing_is_to_be_read(tmp_path: Path, path: str) -> None:
    async with operated(tmp_path) as (service, api):
        await Client.join(service, 1, display_name="secret-name")
        del api.headers["Authorization"]
        for header in (
            None, "", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN,
            "Bearer not this", f"Bearer {TOKEN.upper()}",
        ):  # fmt: skip
            response = await api.get(path, headers={} if header is None else {"Authorization": header})
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert "secret-name" not in response.text
        assert (await api.get(f"{path}?token={TOKEN}")).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]"])
async def test_another_host_is_misdirected_before_anything_else(tmp_path: Path, host: str) -> None:
    async with operated(tmp_path) as (_, api):
        await problem(api, "GET", "/v1/tenants", 421, headers={"Host": host, "Origin": "https://evil.example"})


async def test_another_origin_is_refused_before_the_token_is_looked_at(tmp_path: Path) -> None:
    async with operated(tmp_path) as (_, api):
        own = str(api.base_url).rstrip("/")
        for origin in ("https://evil.example", "null", own.replace("http:", "https:"), f"{own}0"):
            headers = {"Origin": origin, "Authorization": "Bearer wrong"}
            await problem(api, "POST", "/v1/revocations", 403, headers=headers, json={"invitation": "x"})
        assert (await api.get("/v1/tenants", headers={"Origin": own})).status_code == 200


async def test_names_of_its_own_are_good(tmp_path: Path) -> None:
    async with operated(tmp_path, admin_allowed_hosts="admin.example,[2001:db8::1]") as (_, api):
        for host in ("admin.example", "ADMIN.example.:8443", "[2001:db8:0::1]:1", "localhost:9", "127.0.0.1"):
            assert (await api.get("/v1/tenants", headers={"Host": host})).status_code == 200


async def test_each_answer_has_the_headers_that_keep_browsers_out(tmp_path: Path) -> None:
    async with operated(tmp_path) as (_, api):
        headers = (await api.get("/v1/tenants")).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


async def test_on_loopback_no_token_is_needed_and_elsewhere_it_is(tmp_path: Path) -> None:
    async with operated(tmp_path, admin_token_file=None) as (_, api):
        del api.headers["Authorization"]
        assert (await api.get("/v1/tenants")).status_code == 200
    with pytest.raises(ValueError, match="admin_token_file is needed"):
        async with operated(tmp_path, admin_token_file=None, admin_host="0.0.0.0"):
            pass


async def test_the_document_describes_every_answer(tmp_path: Path) -> None:
    async with operated(tmp_path) as (_, api):
        document = (await api.get("/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/tenants", "/v1/tenants/{tenant}", "/v1/tenants/{tenant}/peers", "/v1/tenants/{tenant}/peers/{virtual_ip}",
        "/v1/tenants/{tenant}/paths", "/v1/tenants/{tenant}/history", "/v1/revocations",
        "/v1/revocations/{revocation}", "/v1/invitations", "/v1/nodes", "/v1/events", "/v1/qr-code",
    }  # fmt: skip
    for path in document["paths"].values():
        for operation in path.values():
            assert {"401", "403", "421"} <= set(operation["responses"])


async def command(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "wg_orchestrator", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


async def test_the_same_by_commands(tmp_path: Path) -> None:
    async with operated(tmp_path, state=tmp_path / "state") as (service, api):
        where = ("--admin", str(api.base_url), "--admin-token-file", "token")
        peer = await Client.join(service, 1)
        other = await V2Client.join(service, 2, display_name="phone [bold]")
        await other.say({"type": "applied", "revision": other.revision})
        await until_applied(api, 1)
        listed = await command("tenants", *where, folder=tmp_path)
        assert (listed.returncode, "by 1 of 1" in listed.stdout) == (0, True), listed.stderr
        listed = await command("peers", "acme", *where, folder=tmp_path)
        assert [line.split()[0] for line in listed.stdout.splitlines()] == [
            "virtual",
            peer.virtual_ip,
            other.virtual_ip,
        ]
        assert "phone [bold]" in listed.stdout
        listed = await command("peers", "acme", "--json", *where, folder=tmp_path)
        assert json.loads(listed.stdout) == (await api.get("/v1/tenants/acme/peers")).json()
        assert (await command("kick", "acme", peer.virtual_ip, *where, folder=tmp_path)).returncode == 0
        assert await peer.closed() == (1008, "put out")
        ended = await command("kick", "acme", peer.virtual_ip, *where, folder=tmp_path)
        assert (ended.returncode, ended.stderr) == (1, "wg-orchestrator: refused: there is no such peer (HTTP 404)\n")
        revoked = await command(
            "revoke", "--public-key", a_key_text(2), "--for", "1h", "--json", *where, folder=tmp_path
        )
        assert revoked.returncode == 0, revoked.stderr
        assert json.loads(revoked.stdout)["put_out"] == 1
        assert await other.closed() == (4506, "revoked")


async def test_commands_say_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong\n")
    (tmp_path / "empty").write_text("\n")
    async with operated(tmp_path) as (_, api):
        url = str(api.base_url)
        for words, status in (
            (("tenants", "--admin", url), 1),
            (("tenants", "--admin", url, "--admin-token-file", "wrong"), 1),
            (("tenants", "--admin", url, "--admin-token-file", "empty"), 1),
            (("tenants", "--admin", url, "--admin-token-file", "none"), 1),
            (("peers", "none", "--admin", url, "--admin-token-file", "token"), 1),
            (("peers", "../nodes", "--admin", url, "--admin-token-file", "token"), 1),
            (("tenants", "--admin", "http://127.0.0.1:1"), 1),
            (("revoke", "--invitation", "x", "--admin", "http://127.0.0.1:1"), 1),
        ):
            ended = await command(*words, folder=tmp_path)
            assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (status, "", 1), ended
            assert TOKEN not in ended.stderr
        for line in ("tenants", "tenants --admin ftp://a", "tenants --admin http://a?b", "peers"):
            assert (await command(*line.split(), folder=tmp_path)).returncode == 2
