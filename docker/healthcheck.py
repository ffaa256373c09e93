import os
import ssl
import sys
from http.client import HTTPConnection, HTTPSConnection  # urllib would use a proxy that the environment names.

port = int(os.environ.get("WG_ORCHESTRATOR_PORT") or 8000)
if os.environ.get("WG_ORCHESTRATOR_TLS_CERTIFICATE"):
    context = ssl._create_unverified_context()  # noqa: S323, SLF001 - the certificate is not for 127.0.0.1.
    connection: HTTPConnection = HTTPSConnection("127.0.0.1", port, timeout=4, context=context)
else:
    connection = HTTPConnection("127.0.0.1", port, timeout=4)
connection.request("GET", "/healthz")
sys.exit(connection.getresponse().status != 200)
