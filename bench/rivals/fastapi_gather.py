import asyncio
import sys
from collections import defaultdict

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from bench.rivals.roster import Roster


class Tenant(Roster[WebSocket]):
    """It has a lock, because other tasks run during `gather`: without the lock, a notice could overtake a welcome."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def tell(self, notice: str, members: list[WebSocket]) -> None:
        await asyncio.gather(*(member.send_text(notice) for member in members), return_exceptions=True)


app = FastAPI()
tenants: defaultdict[str, Tenant] = defaultdict(Tenant)


@app.websocket("/tenants/{tenant_id}")
async def join(websocket: WebSocket, tenant_id: str) -> None:
    await websocket.accept()
    tenant = tenants[tenant_id]
    virtual_ip = ""
    try:
        message = await websocket.receive_text()
        async with tenant.lock:
            virtual_ip, welcome, notice = tenant.admit(message)
            others = list(tenant.handles.values())
            tenant.handles[virtual_ip] = websocket
            await tenant.tell(notice, others)
            await websocket.send_text(welcome)
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        if virtual_ip:
            async with tenant.lock:
                notice = tenant.remove(virtual_ip)
                await tenant.tell(notice, list(tenant.handles.values()))


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
