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
