"""The pictures of docs/operators.md. With `PICTURES=docs` in the environment they are made anew there."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.browser.operator import at
from tests.integration.service import Client
from tests.integration.test_operators import operated
from tests.integration.v2_client import V2Client

DOCS = Path(__file__).parents[2] / "docs"
HEBREW = "\u05de\u05d7\u05e9\u05d1 \u05e0\u05d9\u05d9\u05d3"
NAMES = ["laptop", "phone", "B\u00fcro \u201e3\u201c", "printer", "nas", "camera", "build server", HEBREW]
OFF = 3
"""Which of them nobody reaches."""


def kind(one: int, other: int) -> str:
    """The first three are in one network, and the others in another one."""
    return "none" if OFF in (one, other) else "lan" if (one < 3) is (other < 3) else "direct"


async def a_tenant(service: Any) -> None:
    peers = [await V2Client.join(service, number, display_name=name) for number, name in enumerate(NAMES, 1)]
    revision = service.container.tenants().get("acme").revision
    for number, peer in enumerate(peers):
        paths = {other.virtual_ip: kind(number, at) for at, other in enumerate(peers) if at != number}
        applied = revision if number != 1 else revision - 3
        await peer.say({"type": "applied", "revision": applied, "paths": paths})
    gone = await Client.join(service, 20, "globex")
    await gone.leave()
    await Client.join(service, 21, "globex")


@pytest.mark.parametrize(
    ("name", "scheme", "width"), [("table", "light", 1200), ("picture", "dark", 1200), ("narrow", "light", 400)]
)
async def test_the_pictures_of_the_documents(
    browser: Browser, tmp_path: Path, name: str, scheme: Any, width: int
) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 620}, "locale": "en-GB"}
    async with operated(tmp_path, grace=60) as (service, api), at(browser, str(api.base_url), **options) as operator:
        page = operator.page
        await a_tenant(service)
        await operator.sees("#count", f"{len(NAMES)} peers")
        await expect(page.locator("#convergence")).to_contain_text("phone is at 5 since")
        await operator.counts("#tenants button", 2)
        await operator.counts("#rows tr:has-text('v2')", len(NAMES))
        if name == "picture":
            await page.click("#as-picture")
            await operator.sees("#picture-note", "28 paths")
        picture = await page.screenshot()
        assert picture.startswith(b"\x89PNG")
        if folder := os.environ.get("PICTURES"):
            (Path(folder) / f"operators-{name}.png").write_bytes(picture)
    told = (DOCS / "operators.md").read_text()
    assert f"(operators-{name}.png)" in told
    assert (DOCS / f"operators-{name}.png").read_bytes()[16:24] == picture[16:24]  # Width and height.
