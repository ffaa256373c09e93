"""The live page: files that a browser gets without a token, and that load nothing from elsewhere."""

from importlib.resources import files

from starlette.responses import Response

from wg_orchestrator.adapters.operators import page

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content-Security-Policy: nothing but these files is run or shown, and no text is ever taken for HTML."""


class Pages:
    """The files of the page, by their paths."""

    def __init__(self) -> None:
        self._files = {
            f"/{file.name}": (file.read_bytes(), _TYPES[file.name.rpartition(".")[2]])
            for file in files(page).iterdir()
            if file.name.rpartition(".")[2] in _TYPES
        }
        self._files["/"] = self._files.pop("/index.html")

    def find(self, method: str, path: str) -> Response | None:
        """The answer to a request for one of them; None: it is none."""
        if method not in ("GET", "HEAD") or path not in self._files:
            return None
        content, media_type = self._files[path]
        return Response(content, media_type=media_type, headers={"content-security-policy": _POLICY})
