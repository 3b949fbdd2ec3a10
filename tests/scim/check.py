"""Runs scim2-tester against a SCIM server: check.py BASE_URL TOKEN. Ends with 1 when it finds an error."""

import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

base, token = sys.argv[1:3]
http = Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False)
results = check_server(SyncSCIMClient(http))
wrong = [r for r in results if r.status in (Status.ERROR, Status.CRITICAL)]
for result in wrong:
    data = str(result.data)[:600]
    print(f"{result.status.name} {result.resource_type or ''} {result.title}: {result.reason}\n  {data}")
counts = {status.name: sum(r.status is status for r in results) for status in Status}
print(" ".join(f"{name}={count}" for name, count in counts.items() if count))
sys.exit(1 if wrong or counts["SUCCESS"] < 60 else 0)
