"""Who has an invitation comes in, and nobody else; over a real socket, by both versions of the protocol."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from harness.invitations import Inviter, bearer
from harness.keys import a_key_text
from tests.integration.bad_tokens import bad_invitations
from tests.integration.service import PATIENCE, Client, RawClient, Service, join_message, refused, running
from tests.integration.v2_client import V2, V2Client, join_v2
from wg_orchestrator.domain.admission import Revocation, RevocationId
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.stay import InvitationId


@pytest.fixture
def inviter() -> Inviter:
    return Inviter()


@pytest.fixture
async def service(tmp_path: Path, inviter: Inviter) -> AsyncIterator[Service]:
    """One that asks for invitations, and remembers their uses."""
    async with running(invitation_keys=inviter.write_keys(tmp_path / "keys"), state=tmp_path / "state") as service:
        yield service


async def joined(service: Service, token: str, number: int, tenant: str = "acme") -> Client:
    return await Client.join(service, number, tenant, bearer(token))


async def joined_v2(service: Service, token: str, number: int, **changes: Any) -> V2Client:
    return await V2Client.join(service, number, headers=bearer(token), **changes)


async def closed(service: Service, token: str, number: int) -> tuple[int, str]:
    """What a v1 client's join is answered with."""
    return await refused(service, join_message(number), additional_headers=bearer(token))


async def closed_v2(service: Service, token: str, number: int, **changes: Any) -> tuple[int, str]:
    """What a v2 client's join is answered with."""
    join = json.dumps(join_v2(number, **changes))
    return await refused(service, join, subprotocols=[V2], additional_headers=bearer(token))


async def status(service: Service, token: str | None, tenant: str = "acme") -> tuple[int, str | None, str]:
    """What a handshake with this token is answered with: the status, the challenge and the body."""
    with pytest.raises(InvalidStatus) as refusal:
        await service.connect(tenant, additional_headers=None if token is None else bearer(token))
    response = refusal.value.response
    return response.status_code, response.headers.get("WWW-Authenticate"), (response.body or b"").decode()


async def revoke(service: Service, number: int, **what: Any) -> Revocation:
    revocation = Revocation(RevocationId(f"r{number}"), at=int(time.time()), **what)
    await service.container.records().revoke(revocation)
    return revocation


async def test_who_has_an_invitation_comes_in_by_both_versions(service: Service, inviter: Inviter) -> None:
    first = await joined(service, inviter.token(), 1)
    await joined_v2(service, inviter.token(), 2)
    assert (await first.hear())["display_name"] == "peer-2"


async def test_the_challenges_are_those_of_the_standard(service: Service, inviter: Inviter) -> None:
    assert (await status(service, None))[:2] == (401, "Bearer")
    assert (await status(service, "nonsense"))[:2] == (401, 'Bearer error="invalid_token"')
    other = inviter.token(tenant="globex")
    assert (await status(service, other))[:2] == (403, 'Bearer error="insufficient_scope"')
    for header in ({"Authorization": "Basic dTpw"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer  "}):
        with pytest.raises(InvalidStatus) as refusal:
            await service.connect(additional_headers=header)
        assert refusal.value.response.headers["WWW-Authenticate"] == "Bearer"
    good = inviter.token()
    with pytest.raises(InvalidStatus) as refusal:
        await service.connect(additional_headers=[("Authorization", f"Bearer {good}")] * 2)
    assert refusal.value.response.status_code == 401
    client = await service.connect(additional_headers={"authorization": f"bEARER {good}"})
    await client.close()


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """The log, whatever other tests have set up."""
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines


async def test_no_bad_token_lets_in_and_nobody_else_hears_of_it(
    tmp_path: Path, inviter: Inviter, lines: list[Any]
) -> None:
    asked = list[bytes]()
    listener = await asyncio.start_server(lambda reader, _: asked.append(b"asked"), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    keys = inviter.write_keys(tmp_path / "keys")
    async with listener, running(invitation_keys=keys, max_handshake_rate=0) as service:
        watcher = await joined(service, inviter.token(), 1)
        rows = list(bad_invitations(inviter, f"http://127.0.0.1:{port}"))
        assert len(rows) >= 80
        wrong = dict[str, object]()
        for name, token, expected in rows:
            found = await status(service, token)
            if found[0] != expected or any(part and part in found[2] for part in token.split(".")):
                wrong[name] = found
        assert wrong == {}
        assert asked == []
        await joined(service, inviter.token(), 2)
        assert (await watcher.hear())["display_name"] == "peer-2"
        assert len(watcher.messages) == 2
        refusals = [service.metric("refusals_total", reason=one) for one in ("bad token", "token for another tenant")]
        assert refusals == [len(rows) - 2, 2]
        assert service.metric("admissions_total", outcome="admitted") == 2
    log = str(lines)
    signatures = [token.rpartition(".")[2] for _, token, _ in rows]
    assert [one for one in signatures if len(one) > 40 and one in log] == []
    assert "'invitation': 'bad'" in log


async def test_a_head_of_16_kib_is_refused_before_it_is_read_as_a_token(service: Service, inviter: Inviter) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await service.connect(additional_headers=bearer(inviter.token(padding="x" * 12_000)))
    assert refusal.value.response.status_code == 431


async def test_with_room_for_it_a_token_of_16_kib_is_no_good_one(tmp_path: Path, inviter: Inviter) -> None:
    keys = inviter.write_keys(tmp_path / "keys")
    async with running(invitation_keys=keys, max_request_size=65_536) as service:
        assert (await status(service, inviter.token(padding="x" * 12_000)))[0] == 401


async def test_within_the_skew_a_token_is_good(service: Service, inviter: Inviter) -> None:
    now = int(time.time())
    await joined(service, inviter.token(iat=now + 50, nbf=now + 50), 1)
    await joined(service, inviter.token(iat=now - 3600, exp=now - 50), 2)


async def test_uses_count_distinct_keys_and_a_key_comes_back(service: Service, inviter: Inviter) -> None:
    token = inviter.token(uses=2)
    for number in (1, 2):
        await (await joined(service, token, number)).leave()
    assert await closed(service, token, 3) == (1008, "used up")
    assert await closed_v2(service, token, 3) == (4507, "used up")
    await joined(service, token, 1)


async def test_only_a_welcome_takes_a_use(service: Service, inviter: Inviter) -> None:
    token = inviter.token(uses=1)
    await joined(service, inviter.token(), 1)
    assert await closed(service, token, 1) == (4004, "key in use")
    assert (await refused(service, "{}", additional_headers=bearer(token)))[0] == 4501
    await joined(service, token, 2)
    assert await closed(service, token, 3) == (1008, "used up")


async def test_of_many_at_once_one_gets_in_by_an_invitation_for_one(service: Service, inviter: Inviter) -> None:
    token = inviter.token(uses=1)
    answers = await asyncio.gather(*(joined(service, token, n) for n in range(1, 41)), return_exceptions=True)
    assert sum(isinstance(answer, Client) for answer in answers) == 1
    assert len(service.roster()) == 1


async def test_the_same_key_twice_at_once_frees_no_use(service: Service, inviter: Inviter) -> None:
    """One of them fails as its key is in use. That must not give back what the other one has."""
    for round_number in range(10):
        token = inviter.token(uses=1)
        number = 10 * round_number + 1
        both = [joined(service, token, number), joined(service, token, number)]
        answers = await asyncio.gather(*both, return_exceptions=True)
        assert sum(isinstance(answer, Client) for answer in answers) == 1
        assert await closed(service, token, number + 1) == (1008, "used up")


async def test_uses_need_a_state_file(tmp_path: Path, inviter: Inviter) -> None:
    async with running(invitation_keys=inviter.write_keys(tmp_path / "keys")) as service:
        code, _, body = await status(service, inviter.token(uses=1))
        assert code == 401
        assert "--state" in body


async def test_uses_are_remembered_over_a_restart(tmp_path: Path, inviter: Inviter) -> None:
    options: dict[str, Any] = {"invitation_keys": inviter.write_keys(tmp_path / "keys"), "state": tmp_path / "state"}
    token = inviter.token(uses=1)
    async with running(**options) as service:
        await joined(service, token, 1)
    async with running(**options) as service:
        assert await closed(service, token, 2) == (1008, "used up")
        await joined(service, token, 1)


async def test_after_it_has_expired_only_those_come_back_who_have_come_by_it(
    service: Service, inviter: Inviter
) -> None:
    now = int(time.time())
    times = {"iat": now - 3600, "exp": now - 58}
    token, other = inviter.token(**times), inviter.token(**times)
    await (await joined(service, token, 1)).leave()
    await anyio.sleep(3)  # Nothing tells of the time.
    assert (await status(service, other))[0] == 401
    await joined(service, token, 1)
    assert await closed(service, token, 2) == (1008, "used up")


async def test_a_stay_is_over_after_its_time_and_others_hear_of_a_leave(service: Service, inviter: Inviter) -> None:
    watcher = await joined(service, inviter.token(), 1)
    token = inviter.token(stay=2)
    guest = await joined(service, token, 2)
    second = await joined_v2(service, token, 3)
    assert await guest.closed() == (1008, "stay over")
    assert await second.closed() == (4508, "stay over")
    await watcher.until(lambda roster: len(roster.peers) == 0)
    assert await closed(service, token, 2) == (1008, "stay over")
    assert service.metric("put_out_total", reason="stay over") == 2


async def test_a_fixed_name_is_the_peers_name_whatever_it_says(service: Service, inviter: Inviter) -> None:
    watcher = await joined(service, inviter.token(), 1)
    peer = await joined_v2(service, inviter.token(name="printer"), 2)
    assert (await watcher.hear())["display_name"] == "printer"
    await peer.say({"type": "update", "display_name": "other", "endpoints": []})
    await joined(service, inviter.token(), 3)
    late = await joined(service, inviter.token(), 4)
    names = {one["display_name"] for one in late.roster.peers.values()}
    assert names == {"peer-1", "printer", "peer-3"}


async def test_who_came_by_a_revoked_invitation_is_out_for_good(service: Service, inviter: Inviter) -> None:
    watcher = await joined_v2(service, inviter.token(), 1)
    token = inviter.token(jti="stolen")
    old = await joined(service, token, 2)
    new = await joined_v2(service, token, 3)
    revocation = await revoke(service, 1, invitation=InvitationId("stolen"))
    assert await old.closed() == (1008, "revoked")
    assert await new.closed() == (4506, "revoked")
    left = [await watcher.hear() for _ in range(4)]
    assert sorted(one["type"] for one in left) == ["joined", "joined", "left", "left"]
    assert await closed(service, token, 4) == (1008, "revoked")
    resume = {"session": new.session, "revision": new.revision}
    assert await closed_v2(service, token, 3, resume=resume) == (4506, "revoked")
    assert len(service.roster()) == 1
    receipt = await receipts(service, revocation, lambda found: found[0].of == 0)
    assert (receipt.put_out, receipt.by, receipt.of) == (2, 0, 0)
    await service.container.records().withdraw(revocation.id)
    await joined(service, token, 2)


async def test_a_receipt_says_how_many_have_applied_it(service: Service, inviter: Inviter) -> None:
    peers = []
    for number in (1, 2, 3):
        peer = await joined_v2(service, inviter.token(), number)
        if number < 3:
            await peer.say({"type": "applied", "revision": peer.revision})
        peers.append(peer)
    await joined(service, inviter.token(jti="stolen"), 4)
    revocation = await revoke(service, 1, invitation=InvitationId("stolen"))
    receipt = await receipts(service, revocation, lambda found: found[0].put_out == 1 and found[0].of == 2)
    assert (receipt.by, receipt.since) == (0, None)
    while (await peers[0].hear())["type"] != "left":
        pass
    last = peers[0].revision
    await peers[0].say({"type": "applied", "revision": last})
    await receipts(service, revocation, lambda found: found[0].by == 1)
    await peers[1].say({"type": "applied", "revision": last + 1000})  # A revision that there is not counts for nothing.
    await peers[0].say({"type": "applied", "revision": last})
    await anyio.sleep(0.6)  # Nothing tells that it was looked at.
    assert (await receipts(service, revocation, bool)).since is None
    await peers[1].websocket.close()
    receipt = await receipts(service, revocation, lambda found: found[0].since is not None)
    assert (receipt.put_out, receipt.by, receipt.of) == (1, 1, 1)


async def receipts(service: Service, revocation: Revocation, condition: Any) -> Any:
    """The node's report, once it is as the condition says."""
    with anyio.fail_after(PATIENCE):
        while not (found := await service.container.records().reports(revocation.id)) or not condition(found):
            await anyio.sleep(0.05)
    return found[0]


async def test_a_revoked_key_is_out_in_its_tenant_or_in_all_for_the_time_that_is_said(
    service: Service, inviter: Inviter
) -> None:
    here, there = inviter.token(), inviter.token(tenant="globex")
    key = PublicKey.parse(a_key_text(1))
    peer = await joined(service, here, 1)
    until = int(time.time()) + 3
    await revoke(service, 1, public_key=key, tenant_id="acme", until=until)
    assert await peer.closed() == (1008, "revoked")
    other = await joined(service, there, 1, "globex")
    assert await closed(service, here, 1) == (1008, "revoked")
    with anyio.fail_after(PATIENCE):
        while time.time() < until:
            await anyio.sleep(0.1)
    await (await joined(service, here, 1)).leave()
    await revoke(service, 2, public_key=key)
    assert await other.closed() == (1008, "revoked")
    assert await closed(service, here, 1) == (1008, "revoked")


async def test_an_open_service_lets_everybody_in_but_who_is_revoked(tmp_path: Path) -> None:
    async with running(state=tmp_path / "state") as service:
        peer = await Client.join(service, 1)
        await revoke(service, 1, public_key=PublicKey.parse(a_key_text(1)))
        assert await peer.closed() == (1008, "revoked")
        assert await refused(service, join_message(1)) == (1008, "revoked")
        await Client.join(service, 2)


async def test_keys_are_read_anew_and_a_broken_file_keeps_the_old_ones(
    lines: list[Any], service: Service, inviter: Inviter, tmp_path: Path
) -> None:
    keys, new = tmp_path / "keys", Inviter("key-2")
    await joined(service, inviter.token(), 1)
    with pytest.raises(InvalidStatus):
        await joined(service, new.token(), 2)
    inviter.write_keys(keys, new)
    await comes_in(service, new, 2)
    keys.write_text(json.dumps({"keys": [{"kty": "oct", "kid": "x", "k": "AAAA"}]}))
    with anyio.fail_after(PATIENCE):
        while not any(line["event"] == "invitation keys kept" for line in lines):
            await anyio.sleep(0.1)
    await joined(service, inviter.token(), 3)
    remembered = inviter.token()
    await (await joined(service, remembered, 4)).leave()
    new.write_keys(keys)
    with anyio.fail_after(PATIENCE):
        while (await answer(service, remembered)) != 401:
            await anyio.sleep(0.1)
    await joined(service, new.token(), 5)


async def answer(service: Service, token: str) -> int:
    try:
        websocket = await service.connect(additional_headers=bearer(token))
    except InvalidStatus as refusal:
        return refusal.response.status_code
    await websocket.close()
    return 101


async def comes_in(service: Service, inviter: Inviter, number: int) -> None:
    with anyio.fail_after(PATIENCE):
        while await answer(service, inviter.token()) != 101:
            await anyio.sleep(0.1)
    await joined(service, inviter.token(), number)


async def test_a_raw_handshake_without_a_token_gets_a_whole_http_response(service: Service) -> None:
    with pytest.raises(AssertionError, match=r"HTTP/1\.1 401 Unauthorized") as refusal:
        await RawClient.open(service)
    assert "www-authenticate: Bearer" in str(refusal.value)
