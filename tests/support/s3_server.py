"""An S3 store on the loopback: moto's server in a process of its own, with faults that a test asks for.

    with S3Server() as server:
        server.put("bucket", "key", b"…")                       without pyarrow, so without what is tested
        server.fault(share=0.1, status=500)                     every tenth request fails
        server.fault(share=0.1, seconds=0.3)                    every tenth is slow
        server.fault(match="GET .*/x.png", status=403, code="AccessDenied")
        server.requests()                                       "GET /bucket/key" → how often

Which requests fail is drawn with a seed. `make_server` of moto's own would serve without faults.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "a-test",
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_CONTROL = "/-test-/"


class S3Server:
    """Running from the start of the block to its end."""

    def __enter__(self) -> S3Server:
        environment = os.environ | ENVIRONMENT
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def bucket(self, name: str) -> str:
        """Make a bucket; its name."""
        self._send("PUT", f"/{name}")
        return name

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Make an object."""
        self._send("PUT", f"/{bucket}/{quote(key)}", data)

    def put_folder(self, bucket: str, prefix: str, folder: Path) -> None:
        """Make an object of every file below a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(bucket, f"{prefix}/{path.relative_to(folder)}", path.read_bytes())

    def get(self, bucket: str, key: str) -> bytes:
        """The bytes of an object."""
        return self._send("GET", f"/{bucket}/{quote(key)}")

    def delete(self, bucket: str, key: str) -> None:
        """Take an object away."""
        self._send("DELETE", f"/{bucket}/{quote(key)}")

    def keys(self, bucket: str) -> list[str]:
        """The keys of the first 1,000 objects."""
        return re.findall("<Key>(.*?)</Key>", self._send("GET", f"/{bucket}?list-type=2").decode())

    def fault(
        self,
        *,
        share: float = 1.0,
        match: str = ".*",
        status: int | None = None,
        code: str = "InternalError",
        seconds: float = 0.0,
        times: int | None = None,
    ) -> None:
        """From now on a share of the requests whose `METHOD /path?query` matches wait, and fail where there is a
        status; at most so many times."""
        fields = {"share": share, "match": match, "status": status, "code": code, "seconds": seconds, "times": times}
        self._send("POST", f"{_CONTROL}fault", json.dumps(fields).encode())

    def well(self) -> None:
        """No more faults; requests are counted from 0."""
        self._send("POST", f"{_CONTROL}well")

    def requests(self) -> Counter[str]:
        """How often each `METHOD /path` was asked for."""
        return Counter(json.loads(self._send("POST", f"{_CONTROL}requests")))

    def _send(self, method: str, path: str, data: bytes | None = None) -> bytes:
        scope = "a-test/20240101/us-east-1/s3/aws4_request"
        signed = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=unchecked"
        headers = {"X-Test": "yes", "Content-Type": "application/octet-stream", "Authorization": signed}
        request = urllib.request.Request(self.endpoint + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read()


class _Faulty:
    """Moto's application, with faults in front of it."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app, self._lock, self._random = app, threading.Lock(), random.Random(7)
        self._faults: list[dict[str, Any]] = []
        self._seen: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path.startswith(_CONTROL):
            return self._control(path.removeprefix(_CONTROL), environ, start)
        if "HTTP_X_TEST" in environ:
            return self._app(environ, start)
        request = f"{method} {path}" + (f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else "")
        with self._lock:
            self._seen[f"{method} {path}"] += 1
            due = [fault for fault in self._faults if self._is_due(fault, request)]
        time.sleep(sum(fault["seconds"] for fault in due))
        for fault in due:
            if fault["status"]:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start(f"{fault['status']} Fault", [("Content-Type", "application/xml")])
                return [f"<Error><Code>{fault['code']}</Code><Message>asked for by the test</Message></Error>".encode()]
        return self._app(environ, start)

    def _is_due(self, fault: dict[str, Any], request: str) -> bool:
        if not re.fullmatch(fault["match"], request) or fault["times"] == 0 or self._random.random() >= fault["share"]:
            return False
        fault["times"] = None if fault["times"] is None else fault["times"] - 1
        return True

    def _control(self, what: str, environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        with self._lock:
            if what == "fault":
                self._faults.append(json.loads(data))
            elif what == "well":
                self._faults.clear()
                self._seen.clear()
            body = json.dumps(self._seen).encode()
        start("200 OK", [("Content-Type", "application/json")])
        return iter([body])


def _serve() -> None:
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = _Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    print(server.server_port, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # with its parent
    server.serve_forever()


if __name__ == "__main__":
    _serve()
