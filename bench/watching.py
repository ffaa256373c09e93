"""Somebody who watches a tenant: the operators' live page in Chromium, and two readers of the event stream.

`python -m bench.watching URL TENANT` says `watching` when it does, and at the end of its input what the browser
has done.
"""

import asyncio
import json
import os
import shutil
import sys

import httpx2
from playwright.async_api import async_playwright

READERS = 2
_PATIENCE = 30
COUNT_FRAMES = """
window.frames_ = [];
let last = performance.now();
(function frame(now) { window.frames_.push(now - last); last = now; requestAnimationFrame(frame); })(last);
"""
ASK = """
({
  frames: window.frames_.length,
  sorted: window.frames_.sort((one, two) => one - two),
  heap: performance.memory.usedJSHeapSize,
  elements: document.querySelectorAll("*").length,
  count: document.querySelector("#count").textContent,
})
"""


async def main(url: str, tenant: str) -> None:
    loop = asyncio.get_running_loop()
    is_over = loop.run_in_executor(None, sys.stdin.read)
    options = ["--enable-precise-memory-info", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright, httpx2.AsyncClient(timeout=None) as client:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = await browser.new_page(viewport={"width": 1200, "height": 760})
        await page.goto(f"{url}/#{tenant}")
        await page.locator("#link[data-state=live]").wait_for(timeout=_PATIENCE * 1000)
        readers = [asyncio.create_task(read(client, url)) for _ in range(READERS)]
        await page.evaluate(COUNT_FRAMES)
        print("watching", flush=True)  # noqa: T201 - for its parent
        await is_over
        answer = await page.evaluate(ASK)
        for reader in readers:
            reader.cancel()
        await browser.close()
    times = answer.pop("sorted")
    answer |= {"median": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "longest": times[-1]}
    print(json.dumps(answer), flush=True)  # noqa: T201 - for its parent


async def read(client: httpx2.AsyncClient, url: str) -> None:
    async with client.stream("GET", f"{url}/v1/events") as response:
        async for _ in response.aiter_bytes():
            pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
