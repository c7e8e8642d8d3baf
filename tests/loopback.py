"""A fake Hugging Face Hub on 127.0.0.1: metadata, ranges, redirects to a CDN, and faults."""

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

LFS = 2**20  # bytes from which a file counts as stored in LFS
STEP = 64 * 1024


def blob(data):
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repo:
    """Files of one repository.

    ``error`` is (status, code, message) for every request; ``cdn`` redirects LFS bodies to another
    host.
    """

    files: dict[str, bytes]
    kind: str = "model"
    error: tuple[int, str, str] | None = None
    cdn: bool = False
    tags: dict[str, str] = field(default_factory=dict)

    def etag(self, path):
        data = self.files[path]
        return self.tags.get(path) or (sha256(data).hexdigest() if len(data) >= LFS else blob(data))


@dataclass
class Fault:
    """The fault of one GET.

    ``close``, ``reset`` or ``stall`` after so many bytes; ``short``, ``flip``, ``whole`` (the range
    is ignored) or a status such as 503.
    """

    kind: str | int
    after: int = 0


@dataclass
class Seen:
    method: str
    path: str
    host: str
    headers: dict[str, str]


class Hub:
    """The server.

    Each GET uses up one of ``faults[path]``; ``sent[path]`` counts body bytes; ``pace`` is in bytes
    per second, or None.
    """

    def __init__(self):
        self.repos, self.plain = {}, {}
        self.faults, self.sent, self.seen = {}, Counter(), []
        self.pace = None
        self.head = self.plain_tags = True
        self.over = threading.Event()
        self.servers = [self._serve(), self._serve()]
        self.endpoint = f"http://127.0.0.1:{self.servers[0].server_port}"
        self.cdn = f"http://localhost:{self.servers[1].server_port}"

    def _serve(self):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def stop(self):
        self.over.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def commit(self, name):
        return sha1(name.encode()).hexdigest()

    def gets(self):
        return [each for each in self.seen if each.method == "GET"]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STEP)
        with contextlib.suppress(ConnectionError):
            super().handle()

    def finish(self):
        with contextlib.suppress(ConnectionError):
            super().finish()

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = unquote(self.path)
        self.hub.seen.append(Seen(self.command, path, self.headers["Host"], dict(self.headers)))
        if path.startswith("/plain/"):
            self.serve_plain(path.removeprefix("/plain/"))
            return
        cdn = path.startswith("/cdn/")
        kind, rest = (
            ("space", path[8:])
            if path.startswith("/spaces/")
            else ("model", path.removeprefix("/cdn")[1:])
        )
        name, _, place = rest.partition("/resolve/")
        revision, _, file = place.partition("/")
        repo = self.hub.repos.get(name)
        if repo is None or repo.kind != kind:
            self.refuse(401, "RepoNotFound", "Repository not found")
        elif repo.error:
            self.refuse(*repo.error)
        elif revision not in ("main", self.hub.commit(name)):
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
        elif file not in repo.files:
            self.refuse(404, "EntryNotFound", "Entry not found")
        else:
            self.serve(repo, name, file, cdn)

    def serve(self, repo, name, file, cdn):
        data, etag = repo.files[file], repo.etag(file)
        headers = {"X-Repo-Commit": self.hub.commit(name), "ETag": f'"{etag}"'}
        if len(data) >= LFS:
            headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{etag}"'}
        if repo.cdn and not cdn and len(data) >= LFS:
            place = f"{self.hub.cdn}/cdn/{name}/resolve/{self.hub.commit(name)}/{file}"
            self.reply(302, headers | {"Location": place})
        else:
            self.body(file, data, headers)

    def serve_plain(self, file):
        if self.command == "HEAD" and not self.hub.head:
            self.refuse(405, "", "")
        elif file not in self.hub.plain:
            self.refuse(404, "", "")
        else:
            data = self.hub.plain[file]
            self.body(file, data, {"ETag": f'"{blob(data)[:12]}"'} if self.hub.plain_tags else {})

    def body(self, file, data, headers):
        fault = Fault("none")
        if self.command == "GET" and self.hub.faults.get(file):
            fault = self.hub.faults[file].pop(0)
        if isinstance(fault.kind, int):
            self.refuse(fault.kind, "", "")
            return
        begin, status = 0, 200
        if "Range" in self.headers and fault.kind != "whole":
            begin, status = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")), 206
            if begin >= len(data):
                self.refuse(416, "", "")
                return
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        if fault.kind == "flip":
            data = data[: fault.after] + bytes([data[fault.after] ^ 1]) + data[fault.after + 1 :]
        end = begin + fault.after if fault.kind == "short" else len(data)
        self.head(status, headers | {"Content-Length": str(end - begin)})
        if self.command == "GET":
            stop = begin + fault.after if fault.kind in ("close", "reset", "stall") else end
            self.pour(file, data[begin:stop])
            self.break_off(fault)

    def pour(self, file, data):
        for at in range(0, len(data), STEP):
            piece = data[at : at + STEP]
            self.wfile.write(piece)
            self.hub.sent[file] += len(piece)
            if self.hub.pace:
                time.sleep(len(piece) / self.hub.pace)

    def break_off(self, fault):
        kind = fault.kind
        if kind not in ("close", "reset", "stall"):
            return
        if kind == "stall":
            self.hub.over.wait(10)
        elif kind == "reset":
            time.sleep(0.5 if fault.after else 0)  # the client reads the sent bytes first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def head(self, status, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def reply(self, status, headers):
        self.head(status, headers | {"Content-Length": "0"})

    def refuse(self, status, code, message):
        self.reply(
            status, {"X-Error-Code": code, "X-Error-Message": message} if code or message else {}
        )
