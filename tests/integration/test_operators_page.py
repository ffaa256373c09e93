"""The files of the live page: what a browser gets without a token, and what it may do with them."""

import re
from pathlib import Path

import pytest

from tests.integration.service import Client
from tests.integration.test_operators import operated, problem

PAGE = Path(__file__).parents[2] / "src" / "wg_orchestrator" / "adapters" / "operators" / "page"
FILES = sorted(file.name for file in PAGE.iterdir() if file.suffix in (".html", ".css", ".js", ".svg"))


async def test_the_page_comes_without_a_token_and_says_nothing_about_anybody(tmp_path: Path) -> None:
    async with operated(tmp_path) as (service, api):
        await Client.join(service, 1, display_name="secret-name")
        del api.headers["Authorization"]
        for path in ("/", *(f"/{name}" for name in FILES if name != "index.html")):
            response = await api.get(path)
            assert response.status_code == 200, path
            assert "secret-name" not in response.text
            assert response.headers["cache-control"] == "no-store"
            policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
            assert (await api.head(path)).status_code == 200
        await problem(api, "GET", "/index.html", 401)
        await problem(api, "GET", "/__init__.py", 401)
        await problem(api, "POST", "/", 401)
        await problem(api, "GET", "/", 421, headers={"Host": "evil.example"})
        await problem(api, "GET", "/main.js", 403, headers={"Origin": "https://evil.example"})


@pytest.mark.parametrize("name", FILES)
def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(name: str) -> None:
    text = (PAGE / name).read_text()
    urls = re.findall(r"https?:[^\s\"'`<>)]+", text)
    assert [url for url in urls if url not in ("http://www.w3.org/2000/svg", "https:")] == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|DOMParser", text)
    assert not re.search(r"<script(?! type=\"module\" src=)|\son\w+=|style=", text)


@pytest.mark.parametrize("text", ["", "x" * 1501, "\u00fc", 7, None])
async def test_what_no_qr_code_is_made_of_is_a_problem(tmp_path: Path, text: object) -> None:
    async with operated(tmp_path) as (_, api):
        await problem(api, "POST", "/v1/qr-code", 422, json={"text": text})


async def test_a_qr_code_is_square_and_has_its_three_corners(tmp_path: Path) -> None:
    async with operated(tmp_path) as (_, api):
        rows = (await api.post("/v1/qr-code", json={"text": "x" * 1500})).json()["rows"]
    assert {len(row) for row in rows} == {len(rows)}
    corner = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]
    assert [row[:7] for row in rows[:7]] == [row[-7:] for row in rows[:7]] == [row[:7] for row in rows[-7:]] == corner
