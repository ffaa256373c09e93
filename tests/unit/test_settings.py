from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from wg_orchestrator.settings import Settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = Settings()
    assert (settings.port, settings.network) == (8000, IPv4Network("100.64.0.0/10"))
    assert settings.ping_interval + settings.ping_timeout < 20


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "WG_ORCHESTRATOR_PORT=1\nWG_ORCHESTRATOR_HOST=::1\nWG_ORCHESTRATOR_LOG_LEVEL=error\n"
    )
    monkeypatch.setenv("WG_ORCHESTRATOR_PORT", "2")
    monkeypatch.setenv("WG_ORCHESTRATOR_HOST", "127.0.0.2")
    settings = Settings(port=3)
    assert (settings.port, settings.host, settings.log_level) == (3, "127.0.0.2", "error")


def test_an_ipv6_network_works() -> None:
    assert Settings.model_validate({"network": "fd00::/64"}).network == IPv6Network("fd00::/64")


def test_allowed_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WG_ORCHESTRATOR_ALLOWED_ORIGINS", "https://a.example, https://b.example,")
    assert Settings().allowed_origins == {"https://a.example", "https://b.example"}


def test_allowed_hosts_have_one_spelling_each() -> None:
    hosts = "Wg.Example., 192.0.2.7, 2001:DB8:0::1,[::1], localhost"
    assert Settings(allowed_hosts=hosts).allowed_hosts == {
        "wg.example", "192.0.2.7", "[2001:db8::1]", "[::1]", "localhost",
    }  # fmt: skip


@pytest.mark.parametrize(
    "host", ["wg.example:8000", "https://wg.example", "*", "a b", "wg.example/", "[::1]:8000", "é"]
)
def test_an_allowed_host_that_no_request_could_name_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match="is no host name without a port"):
        Settings(allowed_hosts=f"wg.example,{host}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"network": "100.64.0.0/33"}, {"network": "100.64.0.1/10"}, {"network": "all"}, {"port": "65536"},
        {"port": "-1"}, {"host": ""}, {"join_timeout": "0"}, {"ping_interval": "soon"}, {"max_tenants": "0"},
        {"max_frame_rate": "-1"}, {"log_level": "loud"}, {"log_format": "xml"},
        {"workers": "0"}, {"nats_stream": "a.b"}, {"nats_replicas": "9"}, {"nats_storage": "tape"}, {"nats_url": ""},
        {"nats_credentials": "no such file"},
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as invalid:
        Settings(**wrong)
    assert [error["loc"][0] for error in invalid.value.errors()] == list(wrong)
