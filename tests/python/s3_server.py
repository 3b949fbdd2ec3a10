"""An S3 service: moto, behind a check of each request's signature as S3 makes it.

    s3_server.py PORT OPEN_PORT

At PORT requests must be signed, by Signature Version 4 in the query, with the key below. At OPEN_PORT the same service
takes anything, for the hand of a test; there, /_seen is one line for each request at PORT: method, path, status.
"""

import base64
import hashlib
import io
import sys
import threading
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

ACCESS_KEY, SECRET_KEY, REGION = "AKIATENURETEST000001", "s3cr3t/of+the/tests", "us-east-1"
SKEW = 15 * 60


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.answer = Response(f"<Error><Code>{code}</Code></Error>", status, content_type="application/xml")


def check(request):
    url = request.environ["REQUEST_URI"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}
    if "X-Amz-Signature" not in query:
        raise Refused(403, "AccessDenied")
    key, _, region, service, _ = query["X-Amz-Credential"].split("/")
    if key != ACCESS_KEY:
        raise Refused(403, "InvalidAccessKeyId")
    if (region, service) != (REGION, "s3"):
        raise Refused(400, "AuthorizationQueryParametersError")
    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    age = (datetime.now(timezone.utc) - signed_at).total_seconds()
    if abs(age) > min(SKEW, int(query["X-Amz-Expires"])):
        raise Refused(403, "RequestTimeTooSkewed")
    signed = query["X-Amz-SignedHeaders"].split(";")
    if any(name.lower().startswith("x-amz-") and name.lower() not in signed for name, _ in request.headers):
        raise Refused(403, "AccessDenied")
    whole = f"{request.scheme}://{request.host}{url}"
    bare = whole.split("&X-Amz-Signature=")[0]
    again = AWSRequest(request.method, bare, headers={name: request.headers[name] for name in signed})
    again.context["timestamp"] = query["X-Amz-Date"]
    auth = S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION, expires=int(query["X-Amz-Expires"]))
    to_sign = auth.string_to_sign(again, auth.canonical_request(again))
    if auth.signature(to_sign, again) != query["X-Amz-Signature"]:
        raise Refused(403, "SignatureDoesNotMatch")
    checksum = request.headers.get("x-amz-checksum-sha256")
    if checksum and checksum != base64.b64encode(hashlib.sha256(request.get_data()).digest()).decode():
        raise Refused(400, "BadDigest")


class Quiet(WSGIRequestHandler):
    def log_request(self, code="-", size="-"):
        pass


def main():
    port, open_port = map(int, sys.argv[1:])
    service = create_backend_app("s3")
    seen = []

    def checked(environ, start):
        request = Request(environ)
        try:
            body = request.get_data()
            check(request)
            answer = Response.from_app(service, {**environ, "wsgi.input": io.BytesIO(body)})
        except Refused as refused:
            answer = refused.answer
        seen.append(f"{request.method} {request.path} {answer.status_code}\n")
        return answer(environ, start)

    def open_to_all(environ, start):
        if environ["PATH_INFO"] == "/_seen":
            return Response("".join(seen))(environ, start)
        return service(environ, start)

    servers = [
        make_server("127.0.0.1", at, app, threaded=True, request_handler=Quiet)
        for at, app in [(port, checked), (open_port, open_to_all)]
    ]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
