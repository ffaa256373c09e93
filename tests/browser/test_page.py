"""The operators' live page, in a real browser, on a real service."""

import re
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from playwright.async_api import Browser, expect

from harness.cluster import free_ports
from harness.invitations import bearer
from harness.keys import a_key_text
from tests.browser.operator import at
from tests.builders import ACME, a_key, a_stay_in
from tests.integration.service import Client, Service, join_message, refused
from tests.integration.test_operators import TOKEN, operated
from tests.integration.v2_client import V2Client
from wg_orchestrator.domain.events import PeerJoined
from wg_orchestrator.domain.peer import DisplayName, Peer

ROWS = "#rows tr[data-address]"
NAMES = f"{ROWS} td.name"


async def test_the_token_is_asked_for_until_it_is_right_and_the_tab_keeps_it(browser: Browser, tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api), at(browser, str(api.base_url), token=None) as operator:
        await Client.join(service, 1)
        page = operator.page
        await page.fill("#token", "wrong")
        await page.keyboard.press("Enter")
        await operator.sees("#token-fault", "That is not the token.")
        await page.keyboard.press("Escape")
        await page.fill("#token", TOKEN)
        await page.keyboard.press("Enter")
        await operator.counts(ROWS, 1)
        await page.reload()
        await operator.counts(ROWS, 1)
        assert TOKEN not in page.url
        assert TOKEN not in await page.content()


async def test_joins_changes_and_leaves_are_seen_as_they_happen(browser: Browser, tmp_path: Path) -> None:
    async with (
        operated(tmp_path, grace=1, update_interval=0.01) as (service, api),
        at(browser, str(api.base_url), "") as operator,
    ):
        one = await V2Client.join(service, 1, display_name="laptop")
        await operator.page.click("#tenants button")
        await operator.sees("#tenant-name", "acme")
        await operator.sees(NAMES, ["laptop"])
        two = await V2Client.join(service, 2, display_name="phone")
        await expect(operator.page.locator("#events li.joined").first).to_contain_text("phone")
        await operator.sees("#count", "2 peers")
        await two.say({"type": "update", "display_name": "my phone"})
        await expect(operator.page.locator("#rows")).to_contain_text("my phone")
        while one.revision < 3:
            await one.hear()
        await one.say({"type": "applied", "revision": one.revision})
        await operator.sees("#convergence", re.compile("revision 3 is applied by 1 of 2; my phone is at 0 since "))
        await two.websocket.close()
        await operator.sees(NAMES, ["laptop"])
        one.websocket.transport.abort()
        await expect(operator.page.locator("#events li.left").first).to_contain_text("(grace)")
        await operator.counts(ROWS, 0)
        await operator.sees("#convergence", "Nobody is in.")


async def test_a_peer_is_put_out_after_a_question(browser: Browser, tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api), at(browser, str(api.base_url)) as operator:
        peer, other = await V2Client.join(service, 1, display_name="phone"), await V2Client.join(service, 2)
        await operator.open_peer("phone")
        await operator.page.click("#peer-kick")
        await operator.answer(yes=False)
        await operator.open_peer("phone")
        await operator.page.click("#peer-kick")
        assert await other.websocket.ping()  # Until here, nothing has happened.
        await operator.counts(ROWS, 2)
        await operator.answer(yes=True)
        assert await peer.closed() == (4509, "put out")
        await operator.sees(NAMES, ["peer-2"])
        await expect(operator.page.locator("#events li.left")).to_contain_text("(put out)")
        await V2Client.join(service, 1, display_name="phone")  # It may come back.
        await operator.counts(ROWS, 2)


async def test_a_key_is_revoked_after_a_question(browser: Browser, tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api), at(browser, str(api.base_url)) as operator:
        peer = await V2Client.join(service, 1, display_name="thief")
        await V2Client.join(service, 2)
        await operator.open_peer("thief")
        await operator.page.click("#peer-revoke")
        await operator.page.get_by_label("its key in all tenants").check()
        await operator.answer(yes=True)
        assert await peer.closed() == (4506, "revoked")
        await operator.sees(NAMES, ["peer-2"])
        await expect(operator.page.locator("#notes")).to_contain_text("1 put out")
        assert (await refused(service, join_message(1), "globex"))[1] == "revoked"
        (listed,) = (await api.get("/v1/revocations")).json()["revocations"]
        assert (listed["public_key"], listed["tenant"]) == (a_key_text(1), None)


async def test_an_invitation_is_made_and_its_command_is_shown_once(browser: Browser, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from wg_orchestrator.cli.main import main

    assert CliRunner().invoke(main, ["keygen", str(tmp_path / "key")]).exit_code == 0
    keys = {"invitation_signing_key": tmp_path / "key", "invitation_keys": tmp_path / "key.pub"}
    async with (
        operated(tmp_path, state=tmp_path / "state", **keys) as (service, api),
        at(browser, str(api.base_url), "") as operator,
    ):
        page = operator.page
        await page.click("#invite")  # Nobody is in yet.
        await page.fill("[name=tenant]", "acme")
        await page.fill("[name=name]", "printer")
        await page.fill("[name=url]", "wss://vpn.example.org/")
        await page.click("#invite-form button.main")
        command = page.locator("#invitation-command")
        await expect(command).to_contain_text("wg-orchestrator up wss://vpn.example.org/tenants/acme --invitation ey")
        token = (await command.inner_text()).split()[-1]
        size = "[document.querySelector('#invitation-code').width, document.querySelector('#invitation-code').height]"
        code = (await api.post("/v1/qr-code", json={"text": await command.inner_text()})).json()["rows"]
        assert await page.evaluate(size) == [len(code) + 8] * 2
        drawn = await page.evaluate(
            "(() => { const c = document.querySelector('#invitation-code'), d = c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data;"
            "return Array.from({length: c.height - 8}, (_, y) => Array.from({length: c.width - 8}, (_, x) =>"
            "d[((y + 4) * c.width + x + 4) * 4] < 128 ? '1' : '0').join('')); })()"
        )
        assert drawn == code
        await page.keyboard.press("Escape")
        await expect(command).to_be_empty()
        assert token not in await page.content()
        await Client.join(service, 1, headers=bearer(token))
        await page.click("#tenants button")
        await operator.sees(NAMES, ["printer"])


HOSTILE = [
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "\"'><svg onload=alert(1)>", "javascript:alert(1)",
    "{{7*7}}${7*7}", "__proto__", "constructor", "\u05d0\u05d1\u05d2 \u0627\u0644\u0639", "x" * 128,
    "a" + "\u0301" * 60, "&lt;b&gt;&amp;", "../../etc/passwd", "%00%0a", "null", "\\u{202e}", "\U0001f469",
]  # fmt: skip


async def test_names_are_text_whatever_is_in_them(browser: Browser, tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api), at(browser, str(api.base_url)) as operator:
        page, dialogs = operator.page, list[str]()
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        for number, name in enumerate(HOSTILE, 1):
            await V2Client.join(service, number, display_name=name)
        await operator.counts(ROWS, len(HOSTILE))
        shown = await page.locator(NAMES).all_text_contents()
        assert sorted(shown) == sorted(peer.peer.display_name for peer in service.container.tenants().get(ACME).stays)
        assert await page.locator("#rows td *, #events li *, #peer-title *").count() == 0
        for name in HOSTILE[:3]:
            await operator.open_peer(name)
            await operator.sees("#peer-title", name)
            await page.click("#peer-kick")
            await operator.answer(yes=False)
        await page.click("#as-picture")
        await page.fill("#peer-search", "onerror")
        await operator.sees("#count", f"1 of {len(HOSTILE)} peers")
        assert dialogs == []


async def test_it_is_used_by_the_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api), at(browser, str(api.base_url)) as operator:
        for number in range(1, 101):
            await Client.join(service, number)
        await operator.sees("#count", "100 peers")
        keys = operator.page.keyboard
        await keys.press("/")
        await keys.type("peer-1")
        await operator.sees("#count", "12 of 100 peers")  # 1, 10 to 19, and 100.
        for key in ("ArrowDown", "ArrowDown", "End", "Enter"):
            await keys.press(key)
        await operator.sees("#peer-title", "peer-100")
        await keys.press("Escape")
        await expect(operator.page.locator("#peer-dialog")).to_be_hidden()
        focused = "document.activeElement.closest('tr')?.dataset.address"
        assert await operator.page.evaluate(focused) == "100.64.0.100"
        await keys.press("Home")
        assert await operator.page.evaluate(focused) == "100.64.0.1"


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1200, "dark")])
async def test_it_fits_narrow_screens_and_is_dark_where_that_is_wanted(
    browser: Browser, tmp_path: Path, width: int, scheme: Any
) -> None:
    options = {"viewport": {"width": width, "height": 700}, "color_scheme": scheme}
    async with operated(tmp_path) as (service, api), at(browser, str(api.base_url), **options) as operator:
        for number in range(1, 30):
            await Client.join(service, number, display_name="x" * 128)
        await operator.sees("#count", "29 peers")
        assert await operator.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for element in ("#invite", "#as-picture", "#peer-search", "#tenants button"):
            await expect(operator.page.locator(element)).to_be_in_viewport(ratio=1)
        light = await operator.page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)"
        )
        assert (light < 200) is (scheme == "dark")


async def test_after_a_restart_it_shows_who_has_come_since(browser: Browser, tmp_path: Path) -> None:
    port, admin_port = free_ports(2)
    options: dict[str, Any] = {"port": port, "admin_port": admin_port}
    async with operated(tmp_path, **options) as (service, api):
        url = str(api.base_url)
        watching = at(browser, url)
        operator = await watching.__aenter__()
        await Client.join(service, 1, display_name="before")
        await Client.join(service, 2, display_name="gone")
        await operator.counts(ROWS, 2)
    await operator.sees("#link", "connecting again…")
    async with operated(tmp_path, **options) as (service, _):
        await Client.join(service, 3, display_name="after")
        await operator.sees("#link", "live")
        await operator.sees(NAMES, ["after"])
        await Client.join(service, 4, display_name="later")
        await operator.counts(ROWS, 2)
    await watching.__aexit__(None, None, None)


async def crowd(service: Service, first: int, count: int, at_once: int = 50) -> None:
    """Let peers join, without connections: what the page has to show are the events."""
    tenants = service.container.tenants()
    addresses = list(ip_network("100.64.0.0/19").hosts())
    for number in range(first, first + count):
        peer = Peer(DisplayName(f"peer-{number}"), a_key(number), cast(IPv4Address, addresses[number]))
        await tenants.commit(PeerJoined(a_stay_in(tenants, peer)))
        if number % at_once == 0:
            await anyio.sleep(0.005)


async def test_thousands_join_while_it_is_open_and_only_what_is_in_view_is_there(
    browser: Browser, tmp_path: Path
) -> None:
    async with (
        operated(tmp_path, max_peers_per_tenant=6000) as (service, api),
        at(browser, str(api.base_url)) as operator,
    ):
        page = operator.page
        await Client.join(service, 6001, display_name="the first")
        await operator.counts(ROWS, 1)
        await page.evaluate("window.drawn = 0; (function frame() { window.drawn++; requestAnimationFrame(frame) })()")
        await crowd(service, 1, 5000)
        await operator.sees("#count", "5001 peers")
        assert await page.evaluate("window.drawn") > 5  # It went on drawing meanwhile.
        assert await page.locator("#rows tr").count() < 60
        assert await page.locator("#events li").count() <= 300
        nodes = await page.evaluate("document.querySelectorAll('*').length")
        assert nodes < 2000
        await page.click("th:nth-child(1) button")
        await operator.sees(f"{NAMES} >> nth=0", "peer-1")
        await page.evaluate("document.querySelector('#table').scrollTop = 1e9")
        await operator.sees(f"{NAMES} >> nth=-1", "the first")
        await page.click("#as-picture")
        await operator.sees("#picture-note", re.compile("0 paths; 5001 of 5001 peers"))
        tenants = service.container.tenants()
        assert len(tenants.get(ACME).stays) == 5001


async def test_of_a_service_that_makes_no_invitations_and_keeps_no_history_it_says_so(
    browser: Browser, tmp_path: Path
) -> None:
    async with operated(tmp_path) as (service, api), at(browser, str(api.base_url)) as operator:
        await Client.join(service, 1)
        await operator.open_peer("peer-1")
        await operator.page.click("#peer-holders")
        await expect(operator.page.locator("#peer-history")).to_contain_text("keeps no history")
        await operator.page.keyboard.press("Escape")
        await operator.page.click("#invite")
        await operator.page.fill("[name=url]", "wss://vpn.example.org")
        await operator.page.click("#invite-form button.main")
        await expect(operator.page.locator("#invite-fault")).to_contain_text("no --invitation-signing-key")
