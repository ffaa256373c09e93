"""An operator at a browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Error, Page, expect

from tests.integration.service import PATIENCE
from tests.integration.test_operators import TOKEN

expect.set_options(timeout=PATIENCE * 1000)


class Operator:
    """Somebody who has the live page open, and what went wrong there."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", self._fail)
        page.on("console", self._hear)

    def _fail(self, error: Error) -> None:
        self.faults.append(str(error))

    def _hear(self, message: ConsoleMessage) -> None:
        # That a request was refused is said there too: the page says it to the operator.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    async def sees(self, selector: str, text: Any) -> None:
        await expect(self.page.locator(selector)).to_have_text(text)

    async def counts(self, selector: str, count: int) -> None:
        await expect(self.page.locator(selector)).to_have_count(count)

    async def open_peer(self, name: str) -> None:
        await self.page.locator("#rows td.name", has_text=name).first.click()
        await expect(self.page.locator("#peer-dialog")).to_be_visible()

    async def answer(self, yes: bool) -> None:
        """The question that is asked before something is done."""
        await self.page.click("#question-yes" if yes else "#question-dialog button[value=no]")


@asynccontextmanager
async def at(
    browser: Browser, url: str, tenant: str = "acme", *, token: str | None = TOKEN, **options: Any
) -> AsyncIterator[Operator]:
    """An operator who looks at a tenant. At the end, nothing went wrong in the page."""
    context = await browser.new_context(**{"viewport": {"width": 1200, "height": 760}, **options})
    operator = Operator(await context.new_page())
    await operator.page.goto(f"{url}/#{tenant}")
    if token is not None:
        await operator.page.fill("#token", token)
        await operator.page.keyboard.press("Enter")
        await operator.sees("#link", "live")
    yield operator
    await context.close()
    assert operator.faults == []
