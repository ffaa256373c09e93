"""A client of the operators' API."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

import click

from wg_orchestrator.cli.failure import fail

_PATIENCE = 10.0
_SILENCE = 30.0
"""Seconds without a line after which a stream counts as lost: the API sends one every ten."""
_LARGEST_ANSWER = 64 * 1024 * 1024
_PAGE = 1000


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token is for one place."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Lost(Exception):
    """There is no stream, or it is lost. Says why."""

    def fail(self) -> NoReturn:
        """End the command."""
        fail(str(self), 1)


class OperatorsApi:
    """Asks the API at a URL. Whatever fails ends the command, with one line and exit status 1."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        """Raises BadParameter if that is no URL."""
        try:
            parts = urlsplit(url)
            is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            is_sound &= (
                not parts.query and not parts.fragment and url.isascii() and url.isprintable() and " " not in url
            )
        except ValueError:
            is_sound = False
        if not is_sound:
            raise click.BadParameter("not like http://127.0.0.1:9100", param_hint="--admin")
        self._url = url.rstrip("/")
        self._headers = {"Accept": "application/json", **_authorization(token_file)}
        self._opener = urllib.request.build_opener(_NoRedirects())

    def get(self, *path: str, **query: str | int) -> dict[str, Any]:
        return self._call("GET", path, query)

    def post(self, *path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", path, body=body)

    def delete(self, *path: str) -> None:
        self._call("DELETE", path)

    def lines(self, *path: str, last_id: str, **query: str) -> Iterator[str]:
        """The lines of a stream, for as long as it lasts. Raises Lost if there is none, or it is lost."""
        request = self._request("GET", path, query, None)
        request.add_header("Accept", "text/event-stream")
        if last_id:
            request.add_header("Last-Event-ID", last_id)
        try:
            with self._opener.open(request, timeout=_SILENCE) as response:
                for line in response:
                    yield line.decode(errors="replace").rstrip("\r\n")
        except urllib.error.HTTPError as error:
            raise Lost(f"refused: {_detail(error)} (HTTP {error.code})") from error
        except (OSError, http.client.HTTPException) as error:
            raise Lost(self._unreachable(error)) from error

    def all(self, name: str, *path: str, **query: str) -> dict[str, Any]:
        """All pages of a list, as one answer; `name` is what the list is called in it."""
        answer = self.get(*path, limit=_PAGE, **query)
        while answer["next"] is not None:
            page = self.get(*path, limit=_PAGE, after=answer["next"], **query)
            answer = {**page, name: answer[name] + page[name]}
        return answer

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        request = self._request(method, path, query, body)
        try:
            with self._opener.open(request, timeout=_PATIENCE) as response:
                content = response.read(_LARGEST_ANSWER)
            found: dict[str, Any] = json.loads(content) if content else {}
        except urllib.error.HTTPError as error:
            fail(f"refused: {_detail(error)} (HTTP {error.code})", 1)
        except (OSError, http.client.HTTPException) as error:
            fail(self._unreachable(error), 1)
        except ValueError:
            fail(f"{self._url} does not answer as an operators' API does", 1)
        return found

    def _request(
        self, method: str, path: tuple[str, ...], query: dict[str, Any] | None, body: dict[str, Any] | None
    ) -> urllib.request.Request:
        url = "/".join([self._url, "v1", *(quote(part, safe="") for part in path)])
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        return urllib.request.Request(  # noqa: S310 - the scheme was looked at.
            f"{url}?{urlencode(query)}" if query else url,
            None if body is None else json.dumps(body).encode(),
            headers,
            method=method,
        )

    def _unreachable(self, error: Exception) -> str:
        reason = getattr(error, "reason", error)
        return f"can't reach {self._url}: {getattr(reason, 'strerror', None) or reason}"


def _authorization(token_file: Path | None) -> dict[str, str]:
    if token_file is None:
        return {}
    try:
        with token_file.open() as file:
            token = file.readline(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"can't read the token in {token_file}: {getattr(error, 'strerror', None) or 'it is no text'}", 1)
    if not token or not token.isascii() or not token.isprintable():
        fail(f"{token_file} has no token in its first line", 1)
    return {"Authorization": f"Bearer {token}"}


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(65_536))["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return error.reason
