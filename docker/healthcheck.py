import os
import sys
from http.client import HTTPConnection  # urllib would ask the proxy that the environment may name.

port = int(os.environ.get("WG_ORCHESTRATOR_PORT") or 8000)
connection = HTTPConnection("127.0.0.1", port, timeout=4)
connection.request("GET", "/healthz")
sys.exit(connection.getresponse().status != 200)
