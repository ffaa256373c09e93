"""Run the Autobahn test suite, the usual conformance test for RFC 6455, against our side of a WebSocket.

It leaves out the cases for performance (9.*) and for compression (12.*, 13.*), an extension that we never accept. The
exit status is 1 if a case failed, 77 if there is no Python 2.7, and 3 if the suite could not run for another reason.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, cast

import click
import uvicorn

from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.request_protocol import RequestProtocol
from wg_orchestrator.settings import ConnectionLimits, GateLimits
from wg_orchestrator.telemetry.telemetry import Telemetry

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CACHE = Path(__file__).parents[2] / ".autobahn"
EXCLUDED = ["9.*", "12.*", "13.*"]
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
LOOPS = ("uvloop", "asyncio")

Results = dict[str, dict[str, Any]]
"""The suite's result for each case."""


class CannotRun(click.ClickException):
    exit_code = 3


class NoPython(click.ClickException):
    exit_code = 77  # By convention: the test was skipped.


class Suite:
    """The test suite in a folder of its own. It needs Python 2.7."""

    def __init__(self, python: str, folder: Path) -> None:
        self._python = python
        self._folder = folder
        # PYTHONUSERBASE is the only way to give Python 2.7 a folder whose .pth files it reads, too.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._environment = inherited | {"PYTHONUSERBASE": str(folder)}

    def install(self) -> None:
        """Install it if it is not installed yet. Raises CannotRun."""
        made_of = f"# {self._python}\n{REQUIREMENTS.read_text()}"
        installed = self._folder / "installed.txt"
        if installed.exists() and installed.read_text() == made_of:
            return
        click.echo(f"Installing the test suite into {self._folder}")
        shutil.rmtree(self._folder, ignore_errors=True)
        pip = [self._python, "-W", "ignore", "-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check"]
        options = ["--user", "--no-deps", "--no-warn-script-location", "--requirement", str(REQUIREMENTS)]
        try:
            subprocess.run([*pip, "install", *options], env=self._environment, check=True, timeout=600)
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotRun(f"The test suite can't be installed: {error}") from error
        installed.write_text(made_of)

    async def run(self, spec: Path) -> int:
        """Run the cases that `spec` selects; return their number. Raises CannotRun if the suite fails to run."""
        wstest = [str(self._folder / "bin" / "wstest"), "--mode", "fuzzingclient", "--spec", str(spec)]
        command = [self._python, "-u", "-W", "ignore", *wstest]
        process = await asyncio.create_subprocess_exec(
            *command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            count, last_lines = await _follow(process)
            if await process.wait() != 0:
                raise CannotRun(f"The test suite broke down:\n{last_lines}")
            return count
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _follow(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Show the suite's progress until it ends; return the number of cases, and the last lines of its output."""
    assert process.stdout is not None
    count = ran = 0
    last_lines: deque[str] = deque(maxlen=20)
    async for line in process.stdout:
        last_lines.append(line.decode(errors="replace"))
        words = last_lines[-1].split()
        if words[:3] == ["Ok,", "will", "run"]:
            count = int(words[3])
        elif words[:4] == ["Running", "test", "case", "ID"]:
            ran += 1
            if ran % 25 == 0 or ran == count:
                click.echo(f"  {ran:3} of {count}: {words[4]}")
    return count, "".join(last_lines)


class EchoServer(uvicorn.Server):
    """uvicorn with our protocol class. It serves until `work` is done, or until a signal."""

    def __init__(self, loop: str, work: Callable[[], Awaitable[None]]) -> None:
        limits = ConnectionLimits(max_message_size=16 * 1024 * 1024, max_fragments=1_000_000, max_frame_rate=1e6)
        config = uvicorn.Config(_echo, loop=loop, ws="none", lifespan="off", log_level="warning", proxy_headers=False)
        super().__init__(config)
        config.load()
        context = ServerContext(config, self.server_state, limits, GateLimits(), 1024, Telemetry(100))
        config.http_protocol_class = cast("Any", lambda **_: RequestProtocol(context))
        self._work = work
        self._task: asyncio.Future[None] | None = None

    async def main_loop(self) -> None:
        self._task = asyncio.ensure_future(self._work())
        with suppress(asyncio.CancelledError):
            await self._task

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def _find_python(named: str | None) -> str:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    test = "import sys; sys.exit(sys.version_info[:2] != (2, 7))"
    for python in [named] if named else ["python2.7", *map(str, pyenv.glob("versions/2.7*/bin/python2.7"))]:
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([python, "-c", test], capture_output=True, check=True)
            return python
    raise NoPython("The test suite needs Python 2.7: name one with --python or in AUTOBAHN_PYTHON.")


def _run(suite: Suite, loop: str, cases: Sequence[str], reports: Path, time_limit: float) -> Results:
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    spec = reports / "spec.json"
    count = 0

    async def work() -> None:
        nonlocal count
        try:
            count = await asyncio.wait_for(suite.run(spec), time_limit)
        except asyncio.TimeoutError as error:
            raise CannotRun(f"The test suite has not ended within {time_limit:g} seconds.") from error

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = {"agent": loop, "url": f"ws://127.0.0.1:{listener.getsockname()[1]}/echo"}
        selection = {"cases": cases, "exclude-cases": EXCLUDED, "exclude-agent-cases": {}}
        spec.write_text(json.dumps({"servers": [server], "outdir": str(reports), **selection}))
        EchoServer(loop, work).run([listener])
    results: Results = json.loads((reports / "index.json").read_text()).get(loop, {})
    if not results or len(results) != count:
        raise CannotRun(f"{len(results)} of {count} cases have run.")
    return results


def _summarize(results: Results, reports: Path) -> bool:
    """Print the results, and return whether all are good."""
    for aspect, comment in (("behavior", "result"), ("behaviorClose", "resultClose")):
        for behavior, count in Counter(result[aspect] for result in results.values()).most_common():
            click.echo(f"  {aspect:13} {behavior:16} {count:3}")
        for case, result in results.items():
            if result[aspect] not in GOOD:
                report = json.loads((reports / result["reportfile"]).read_text())
                click.echo(f"  {case} {result[aspect]}: {report['description']}\n    {report[comment]}")
    return all({result["behavior"], result["behaviorClose"]} <= GOOD for result in results.values())


@click.command(help=__doc__)
@click.option("--python", envvar="AUTOBAHN_PYTHON", help="a Python 2.7 [default: the one on PATH, or else pyenv's]")
@click.option("--cache", type=click.Path(path_type=Path, resolve_path=True), default=CACHE, help="[default: .autobahn]")
@click.option("--loop", "loops", type=click.Choice(LOOPS), multiple=True, default=LOOPS, help="[default: both]")
@click.option("--case", "cases", multiple=True, default=["*"], help="such as 7.* [default: all]")
@click.option("--time-limit", type=float, default=300, show_default=True, help="in seconds, for each event loop")
def main(python: str | None, cache: Path, loops: Sequence[str], cases: Sequence[str], time_limit: float) -> None:
    suite = Suite(_find_python(python), cache / "suite")
    suite.install()
    good = True
    for loop in loops:
        click.echo(f"{loop}: {cache / loop / 'index.html'}")
        good &= _summarize(_run(suite, loop, cases, cache / loop, time_limit), cache / loop)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
