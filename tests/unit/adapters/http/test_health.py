import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from wg_orchestrator.adapters.http.health import Readiness, health_router


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_readiness_is_told_and_liveness_does_not_depend_on_it(ready: bool, status: int) -> None:
    app, readiness = FastAPI(), Readiness()
    app.include_router(health_router(readiness))
    if ready:
        readiness.start()
    client = TestClient(app)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == status
