"""Tokens of an identity provider let in, whatever the provider does meanwhile."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from dependency_injector import providers
from websockets.exceptions import InvalidStatus

from harness.invitations import Inviter, as_json, bearer, segment
from tests.integration.oidc_provider import AUDIENCE, CLAIM, Provider, SigningKey, providing
from tests.integration.service import PATIENCE, Client, Service, running
from tests.integration.test_invitations import answer, joined, status
from wg_orchestrator.adapters.admission import oidc_admission as wanted
from wg_orchestrator.adapters.admission.provider_keys import Pace
from wg_orchestrator.container import Container


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with providing() as provider:
        yield provider


@pytest.fixture
async def service(provider: Provider) -> AsyncIterator[Service]:
    async with running(adapt=quickly, **options(provider)) as service:
        yield service


def quickly(container: Container) -> None:
    """Have it ask its provider more often than it usually does."""
    settings = container.settings()
    provider = wanted.Provider(str(settings.oidc_issuer), AUDIENCE, CLAIM)
    pace = Pace(interval=0.2, timeout=1.0, patience=2.0)
    container.oidc.override(providers.Singleton(wanted.OidcAdmission, provider, container.telemetry(), pace))


def options(provider: Provider) -> dict[str, Any]:
    return {"oidc_issuer": provider.issuer, "oidc_audience": AUDIENCE, "oidc_tenants": CLAIM, "max_handshake_rate": 0}


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_its_tokens_let_in_by_each_algorithm(service: Service, provider: Provider, algorithm: str) -> None:
    key = SigningKey("another", algorithm)
    provider.keys.append(key)
    await joined(service, provider.token(key), 1)


async def test_the_claim_is_a_text_or_a_list_and_never_split(service: Service, provider: Provider) -> None:
    await joined(service, provider.token(tenants="acme"), 1)
    await joined(service, provider.token(tenants=["globex", "acme"], aud=["other", AUDIENCE]), 2)
    for tenants in ("acme,globex", "acme globex", "globex", ["acme,globex"], [], "Acme", None):
        assert (await status(service, provider.token(tenants=tenants)))[0] == 403, tenants


def bad_tokens(provider: Provider) -> Iterator[tuple[str, str]]:
    now = int(time.time())
    key = provider.keys[0]
    changed: dict[str, dict[str, Any]] = {
        "of another issuer": {"iss": "https://other.example"},
        "without an issuer": {"iss": None},
        "issuer with a slash": {"iss": provider.issuer + "/"},
        "issuer in a list": {"iss": [provider.issuer]},
        "for another audience": {"aud": "other"},
        "for other audiences": {"aud": ["other", "another"]},
        "without an audience": {"aud": None},
        "audience of another type": {"aud": 7},
        "audiences of another type": {"aud": [AUDIENCE, 7]},
        "expired beyond the skew": {"iat": now - 600, "exp": now - 61},
        "without an end": {"exp": None},
        "end as a text": {"exp": str(now + 300)},
        "end as a truth": {"exp": True},
        "end that is infinite": {"exp": float("inf")},
        "not yet valid": {"nbf": now + 90},
        "from the future": {"iat": now + 90},
        "tenants of another type": {"tenants": 7},
        "tenants in an object": {"tenants": {"acme": True}},
        "a tenant of another type": {"tenants": ["acme", 7]},
    }
    for name, changes in changed.items():
        yield name, provider.token(**changes)
    good = provider.token()
    claims = json.loads(_decoded(good.split(".")[1]))
    headers: dict[str, dict[str, Any]] = {
        "typ is of a logout": {"typ": "logout+jwt"},
        "jku": {"jku": "http://127.0.0.1:1/keys"},
        "x5u": {"x5u": "http://127.0.0.1:1/keys"},
        "crit": {"crit": ["exp"]},
    }
    for name, header in headers.items():
        yield name, key.sign(claims, **header)
    for alg in ("none", "HS256", "RS256", "PS256", "ES384", "EdDSA"):
        signature = good.rpartition(".")[2]
        yield (
            f"alg is {alg}",
            f"{segment(as_json({'alg': alg, 'kid': key.key_id})).decode()}.{good.split('.')[1]}.{signature}",
        )
    yield "by a key of the same id", SigningKey(key.key_id).sign(claims)
    yield "by a key of another kind and the same id", SigningKey(key.key_id, "EdDSA").sign(claims)
    yield "an invitation", Inviter(key.key_id).token()
    yield "nonsense", "nonsense"


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def test_no_bad_token_lets_in(service: Service, provider: Provider) -> None:
    watcher = await joined(service, provider.token(), 1)
    wrong = {name: found for name, token in bad_tokens(provider) if (found := await status(service, token))[0] != 401}
    assert wrong == {}
    await joined(service, provider.token(), 2)
    await watcher.hear()
    assert len(watcher.messages) == 2


async def test_a_key_that_the_provider_has_not_is_no_good_and_is_asked_for_at_most_every_two_seconds(
    provider: Provider,
) -> None:
    async with running(**options(provider)) as service:
        await _strangers_come(service, provider)


async def _strangers_come(service: Service, provider: Provider) -> None:
    await joined(service, provider.token(), 1)
    before, began = len(provider.requests), time.monotonic()
    stranger = SigningKey("stranger")
    answers = await asyncio.gather(*(status(service, provider.token(stranger, sub=str(n))) for n in range(50)))
    assert {code for code, _, _ in answers} == {401}
    # Each fetch is two requests, of the configuration and of the keys.
    assert len(provider.requests) - before <= 2 * (1 + (time.monotonic() - began) / 2)


async def test_keys_rotate_under_load(service: Service, provider: Provider) -> None:
    """With each new key its tokens come in at once, while strangers show keys that nobody has."""
    strangers = [asyncio.create_task(status(service, provider.token(SigningKey(f"stranger-{n}")))) for n in range(20)]
    for round_number in range(3):
        provider.keys.insert(0, SigningKey(f"key-{round_number}", ("ES256", "EdDSA", "RS256")[round_number]))
        first = 10 * round_number + 1
        await asyncio.gather(*(joined(service, provider.token(), first + n) for n in range(5)))
    assert {code for code, _, _ in await asyncio.gather(*strangers)} == {401}


async def test_a_key_that_the_provider_has_withdrawn_is_no_good_once_the_keys_are_read_anew(
    service: Service, provider: Provider
) -> None:
    token = provider.token()
    await (await joined(service, token, 1)).leave()
    provider.keys = [SigningKey("second")]
    await joined(service, provider.token(), 2)
    assert (await status(service, token))[0] == 401


@pytest.mark.parametrize(
    "fault", ["away", "hangs", "garbage", "error", "endless", "other issuer", "keys over http", "no keys"]
)
async def test_while_the_provider_is_no_use_known_keys_go_on_and_new_ones_wait(
    service: Service, provider: Provider, fault: str
) -> None:
    await joined(service, provider.token(), 1)
    new = SigningKey("new")
    known = provider.keys
    match fault:
        case "away":
            await provider.stop()
        case "hangs":
            provider.hangs = True
        case "garbage":
            provider.garbage = b"{"
        case "error":
            provider.status = 500
        case "endless":
            provider.garbage = b" " * (2 * 1024 * 1024)
        case "other issuer":
            provider.configuration = {"issuer": "https://other.example"}
        case "keys over http":
            provider.configuration = {"jwks_uri": "http://192.0.2.1/keys"}
        case _:
            provider.keys = []
    answers = await asyncio.gather(
        waits(service, provider.token(new)), joined(service, known[0].sign(claims_of(provider)), 2)
    )
    assert answers[0] is None
    provider.hangs, provider.garbage, provider.status, provider.configuration = False, None, 200, {}
    provider.keys = [new, *known]
    await provider.stop()
    await provider.start()
    with anyio.fail_after(PATIENCE):
        while await answer(service, provider.token(new)) != 101:
            await anyio.sleep(0.1)


def claims_of(provider: Provider) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": provider.issuer, "aud": AUDIENCE, "exp": now + 300, CLAIM: "acme"}


async def waits(service: Service, token: str) -> None:
    """It is told to come again, and when."""
    with pytest.raises(InvalidStatus) as refusal:
        await service.connect(additional_headers=bearer(token))
    assert refusal.value.response.status_code == 503
    assert int(refusal.value.response.headers["Retry-After"]) > 0


async def test_a_service_starts_without_its_provider_and_lets_in_as_soon_as_it_is_there() -> None:
    async with providing() as provider:
        await provider.stop()
        async with running(adapt=quickly, **options(provider)) as service:
            await waits(service, provider.token())
            await provider.start()
            with anyio.fail_after(PATIENCE):
                while await answer(service, provider.token()) != 101:
                    await anyio.sleep(0.1)


async def test_both_kinds_let_in_and_neither_by_the_others_keys(tmp_path: Path, provider: Provider) -> None:
    inviter = Inviter(provider.keys[0].key_id)
    keys = inviter.write_keys(tmp_path / "keys")
    async with running(invitation_keys=keys, **options(provider)) as service:
        await joined(service, inviter.token(), 1)
        await joined(service, provider.token(), 2)
        stranger = SigningKey(inviter.key_id, "EdDSA")
        claims = inviter.claims()
        assert (await status(service, stranger.sign(claims)))[0] == 401
        assert (await status(service, inviter.token(iss=provider.issuer, aud=AUDIENCE, **{CLAIM: "acme"})))[0] == 401
        assert (await status(service, provider.token(iss=None, aud="wg-orchestrator", tenant="acme", jti="x")))[
            0
        ] == 401
        assert (await status(service, None))[:2] == (401, "Bearer")
        assert isinstance(await joined(service, inviter.token(), 3), Client)
