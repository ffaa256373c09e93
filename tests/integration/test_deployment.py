"""The files for the deployment, tested with the programs that read them, if these are installed."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2
import pytest
import yaml

from harness.cluster import free_ports
from harness.nats_server import BINARY
from tests.integration.service import PATIENCE, Client, Endpoint, join_message, running
from tests.integration.test_cli import Command
from wg_orchestrator.settings import Settings

DOCKER = Path(__file__).parents[2] / "docker"
CLUSTER = (DOCKER / "cluster.yaml").read_text()
HAPROXY = shutil.which("haproxy")
NATS_ENVIRONMENT = {"NATS_NAME": "nats-1", "NATS_USER": "wg", "NATS_PASSWORD": "secret"}


def test_the_compose_files_name_settings_that_there_are() -> None:
    for file in DOCKER.glob("*.yaml"):
        for name in re.findall(r"WG_ORCHESTRATOR_(\w+):", file.read_text()):
            assert name.lower() in Settings.model_fields


@pytest.mark.parametrize("name", ["compose.yaml", "cluster.yaml"])
def test_compose_takes_the_file(name: str) -> None:
    tool = ["docker", "compose"] if _succeeds("docker", "compose", "version") else ["docker-compose"]
    if not _succeeds(*tool, "version"):
        pytest.skip("there is no docker compose")
    text = (DOCKER / name).read_text()
    if tool == ["docker-compose"]:  # Version 1 knows all keys but `name`.
        text = re.sub(r"^name: .*", "", text, flags=re.MULTILINE)
    done = subprocess.run(
        [*tool, "--project-directory", DOCKER, "-f", "-", "config", "-q"],
        input=text.encode(),
        capture_output=True,
        env={**os.environ, **NATS_ENVIRONMENT},
    )
    assert done.returncode == 0, done.stderr.decode()


async def test_the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() -> None:
    async with running(metrics_port=0) as service:
        await Client.join(service, 1)
        async with httpx2.AsyncClient() as client:
            metrics = (await client.get(f"http://{service.metrics_address}/metrics")).text
    # Of what was not counted yet, only the help is there.
    there = set(re.findall(r"^# HELP (\w+) ", metrics, re.MULTILINE))
    dashboard = json.loads((DOCKER / "monitoring" / "dashboard.json").read_text())
    alerts = yaml.safe_load((DOCKER / "monitoring" / "alerts.yml").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    names = {name for expression in asked for name in re.findall(r"\b(?:wg_orchestrator|process)_\w+", expression)}
    # A histogram's and a summary's series have names of their own.
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in names} <= there
    assert len(dashboard["panels"]) == len({panel["title"] for panel in dashboard["panels"]}) == 12
    reasons = {reason for expression in asked for reason in re.findall(r'(?:reason|outcome)=~"([^"]+)"', expression)}
    source = "".join(path.read_text() for path in (DOCKER.parent / "src").rglob("*.py"))
    assert {one for reason in reasons for one in reason.split("|") if f'"{one}"' not in source} == set()


def test_what_compose_mounts_is_there() -> None:
    for file in DOCKER.glob("*.yaml"):
        for path in re.findall(r"\s(\./[\w./-]+):/", file.read_text()):
            assert (DOCKER / path).is_file(), path


def test_nats_takes_its_file() -> None:
    done = subprocess.run(
        [BINARY, "-t", "-c", DOCKER / "nats.conf"], capture_output=True, env={**os.environ, **NATS_ENVIRONMENT}
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy: apt-get install haproxy")
def test_haproxy_takes_its_file() -> None:
    done = subprocess.run(["haproxy", "-c", "-f", DOCKER / "haproxy.cfg"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy: apt-get install haproxy")
async def test_behind_the_balancer_a_node_stops_and_nobody_is_refused(tmp_path: Path) -> None:
    """On this machine, with the deployment's files; only the addresses are changed."""
    with ExitStack() as stack:
        urls = [
            stack.enter_context(nats_server(tmp_path, ports, number))
            for ports in [free_ports(9)]
            for number in (0, 1, 2)
        ]
        ports = free_ports(3)
        nodes = [stack.enter_context(Command(tmp_path, *arguments(port, urls))) for port in ports[:2]]
        for port in ports[:2]:
            await _until_answers(f"http://127.0.0.1:{port}/readyz")
        stack.enter_context(balancer(tmp_path, ports))
        await _until_answers(f"http://127.0.0.1:{ports[2]}/readyz")
        through = Endpoint(f"127.0.0.1:{ports[2]}")
        stack.callback(lambda: [abort() for abort in through.at_end])
        clients = [await joined(through, number) for number in range(6)]
        for client in clients:
            await client.until(lambda roster: len(roster.peers) == 5)

        nodes[0].signal(signal.SIGTERM)
        newcomers, closed = list[Client](), list[Client]()

        async def come() -> None:
            while True:  # The balancer sends them to either node, and none is refused.
                newcomers.append(await joined(through, 100 + len(newcomers)))
                await anyio.sleep(0.1)

        async def listen(client: Client) -> None:
            assert await client.closed() == (1012, "service restart")
            closed.append(client)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(come)
            for client in clients:
                tasks.start_soon(listen, client)
            assert await anyio.to_thread.run_sync(nodes[0].end) in (0, -signal.SIGTERM)
            with anyio.fail_after(PATIENCE):
                while len(closed) < 3:  # The balancer has given each node three of the six.
                    await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        assert len(closed) == 3
        assert len(newcomers) > 20
        assert '"source": "127.0.0.9"' in nodes[0].output
        stayed = [client for client in clients if client not in closed]
        back = await joined(through, 50)
        for client in stayed:
            await client.until(lambda roster: back.virtual_ip in roster.peers)


async def joined(through: Endpoint, number: int) -> Client:
    client = Client(await through.connect(local_addr=("127.0.0.9", 0)))
    await client.websocket.send(join_message(number))
    await client.hear()
    return client


def arguments(port: int, urls: list[str]) -> list[str]:
    """The settings that cluster.yaml gives a node, as options."""
    values = dict(re.findall(r"^    WG_ORCHESTRATOR_(\w+): (\S+)", CLUSTER, re.MULTILINE))
    values |= {"NATS_URL": ",".join(urls), "TRUSTED_PROXIES": "127.0.0.1"}
    options = [part for name, value in values.items() for part in (f"--{name.lower().replace('_', '-')}", value)]
    return ["serve", "--host", "127.0.0.1", "--port", str(port), *options]


@contextmanager
def nats_server(folder: Path, ports: list[int], number: int) -> Iterator[str]:
    """One of three NATS servers with nats.conf. Yields its URL, with the password in it."""
    name = f"nats-{number + 1}"
    text = (DOCKER / "nats.conf").read_text().replace("/data", str(folder / name))
    for kind, port in enumerate(("0.0.0.0:4222", "127.0.0.1:8222", "0.0.0.0:6222")):
        text = text.replace(port, f"127.0.0.1:{ports[3 * number + kind]}")
    for other in range(3):
        text = text.replace(f"nats-{other + 1}:6222", f"127.0.0.1:{ports[3 * other + 2]}")
    with started(folder, name, text, [str(BINARY), "-c"]):
        yield f"nats://wg:secret@127.0.0.1:{ports[3 * number]}"


@contextmanager
def balancer(folder: Path, ports: list[int]) -> Iterator[None]:
    text = (DOCKER / "haproxy.cfg").read_text().replace("bind :8000", f"bind 127.0.0.1:{ports[2]}")
    text = text.replace("maxconn 200000", "maxconn 1000")
    for number in (0, 1):
        text = text.replace(f" node-{number + 1}:8000", f" 127.0.0.1:{ports[number]}")
    with started(folder, "haproxy", text, ["haproxy", "-db", "-f"]):
        yield


@contextmanager
def started(folder: Path, name: str, text: str, command: list[str]) -> Iterator[None]:
    config = folder / f"{name}.conf"
    config.write_text(text)
    with (folder / f"{name}.log").open("wb") as log:
        environment = {**os.environ, **NATS_ENVIRONMENT, "NATS_NAME": name}
        process = subprocess.Popen([*command, str(config)], stdout=log, stderr=log, env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def _until_answers(url: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with httpx2.AsyncClient() as client:
            while True:
                with suppress(httpx2.TransportError):
                    if (await client.get(url)).status_code == 200:
                        return
                await anyio.sleep(0.05)


def _succeeds(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0
