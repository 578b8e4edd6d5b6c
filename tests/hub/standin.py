"""A stand-in for the hub on this machine's loopback: the requests that huggingface-hub makes to push and fetch a model.

Repositories, branches, commits and large files are dictionaries. Tokens, private and gated repositories are refused as
the hub refuses them; downloads can be cut off, and their bytes changed, to see what becomes of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

WRITER, READER = "hf_writer", "hf_reader"  # tokens that it knows
LARGE = (".safetensors",)  # what the hub keeps in its large storage


@dataclass
class Repository:
    """Its branches, each a commit's id, and what each commit holds."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """Add a commit that holds just `files`; its id."""
        parent = self.branches.get(branch, "")
        oid = hashlib.sha1(f"{parent}{branch}{sorted((k, sha256(v)) for k, v in files.items())}".encode()).hexdigest()
        self.branches[branch], self.commits[oid] = oid, files
        return oid

    def at(self, revision: str) -> str | None:
        """The commit that a branch or a commit's id means."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class Hub:
    """The server, and all that it holds; `with Hub() as hub` runs it."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.seen: list[tuple[str, str, str]] = []
        """Method, path and Range of every request."""
        self.sent = 0
        """Bytes of files that went out."""
        self.cut: list[int] = []
        """After so many bytes the next downloads of large files are cut off."""
        self.abrupt = False
        """Whether they are cut off by a reset of the connection, and not by its end."""
        self.tampered: set[str] = set()
        """Files of which other bytes go out."""
        self.before_commit: Callable[[], None] = lambda: None
        """Runs when a commit has arrived and is not yet made."""
        self.failing: str | None = None
        """A part of the paths that are answered with 503."""

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Of a client of it, which finds nothing of the user's own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        return {
            **kept,
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": WRITER,
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            **more,
        }

    def add(self, name: str, files: dict[str, bytes], **kind: bool) -> str:
        """A repository with one commit; the commit's id."""
        self.repositories[name] = Repository(**kind)
        return self.repositories[name].commit("main", files)

    def __enter__(self) -> Hub:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.storage = f"http://localhost:{self.server.server_port}"  # another host, as the hub's storage is
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    """The requests, each one short."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        """Every request comes through here; the path says what it is."""
        path = unquote(urlsplit(self.path).path)
        self.hub.seen.append((self.command, path, self.headers.get("Range", "")))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.hub.failing and self.hub.failing in path:
                raise Refusal(503)
            for pattern, answer in ROUTES:
                if found := re.fullmatch(pattern, path):
                    return answer(self, body, *found.groups())
            raise Refusal(404, "EntryNotFound")
        except Refusal as refusal:
            self.reply(b"", refusal.status, {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message})

    do_HEAD = do_POST = do_PUT = do_GET

    def reply(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None, size: int = -1) -> None:
        """Send an answer."""
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(size if size >= 0 else len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, content: Any) -> None:
        """Send JSON."""
        self.reply(json.dumps(content).encode(), headers={"Content-Type": "application/json"})

    def user(self, *, writes: bool = False) -> str | None:
        """Who asks; a token that is not known is refused, and one without the right to write."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in ("", WRITER, READER):
            raise Refusal(401, message="Invalid credentials in Authorization header")
        if writes and token != WRITER:
            raise Refusal(403, message="You don't have the rights to write here") if token else Refusal(401)
        return token or None

    def repository(self, name: str) -> Repository:
        """The repository, for those who may see it."""
        found, user = self.hub.repositories.get(name), self.user()
        if found is None or (found.private and user is None):
            raise Refusal(404 if user else 401, "RepoNotFound", "Repository not found")
        return found

    def commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
        """The commit's id and files."""
        repository = self.repository(name)
        oid = repository.at(revision)
        if oid is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid, repository.commits[oid]

    def whoami(self, _: bytes) -> None:
        """Whose token it is."""
        if self.user() is None:
            raise Refusal(401)
        self.json({"name": "me", "type": "user"})

    def create(self, body: bytes) -> None:
        """A repository, with the commit that the hub makes itself."""
        self.user(writes=True)
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            raise Refusal(409)
        self.hub.add(
            name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=asked.get("visibility") == "private"
        )
        self.json({"url": f"{self.hub.address}/{name}"})

    def branch(self, _: bytes, name: str, branch: str) -> None:
        """A branch from main."""
        self.user(writes=True)
        repository = self.repository(name)
        repository.branches[branch] = repository.branches["main"]
        self.json({})

    def info(self, _: bytes, name: str, revision: str | None) -> None:
        """About a repository at a revision."""
        oid, files = self.commit(name, revision or "main")
        self.json({"id": name, "sha": oid, "siblings": [{"rfilename": each} for each in files]})

    def tree(self, _: bytes, name: str, revision: str) -> None:
        """Every file with its hashes."""
        entries: list[dict[str, Any]] = []
        for path, content in self.commit(name, revision)[1].items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        self.json(entries)

    def validate(self, body: bytes) -> None:
        """Whether a card's metadata is YAML."""
        import yaml

        text = json.loads(body)["content"]
        if not text.startswith("---\n"):
            return self.json({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        try:
            metadata = yaml.safe_load(text.split("---\n")[1])
            assert isinstance(metadata, dict)
        except Exception as error:
            content = json.dumps({"errors": [{"message": str(error)}], "warnings": []}).encode()
            return self.reply(content, 400, {"Content-Type": "application/json"})
        return self.json({"errors": [], "warnings": []})

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        """Which files go to the large storage, and the hashes of those that are there."""
        self.user(writes=True)
        there = self.commit(name, revision)[1]
        answers = []
        for path in (each["path"] for each in json.loads(body)["files"]):
            large = path.endswith(LARGE)
            answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            answers.append(answer | ({"oid": (sha256 if large else git_hash)(there[path])} if path in there else {}))
        self.json({"files": answers})

    def batch(self, body: bytes, name: str) -> None:
        """Where large files are to be put that are not there yet."""
        self.user(writes=True)
        self.repository(name)
        objects = []
        for each in json.loads(body)["objects"]:
            action = {"actions": {"upload": {"href": f"{self.hub.address}/large/{each['oid']}"}}}
            objects.append({**each, **({} if each["oid"] in self.hub.large else action)})
        self.json({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        """A large file, which must be what its name says."""
        if self.command != "PUT":
            return self.large(oid)
        if sha256(body) != oid:
            raise Refusal(400)
        self.hub.large[oid] = body
        return self.reply(b"")

    def add(self, body: bytes, name: str, branch: str) -> None:
        """A commit on top of the branch, unless it is no longer where the client saw it."""
        self.user(writes=True)
        self.hub.before_commit()
        repository = self.repository(name)
        head, files = self.commit(name, branch)
        files = dict(files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit", head) != head:
                raise Refusal(412, message="A commit has happened since")
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            if line["key"] == "deletedFile":
                del files[value["path"]]
        oid = repository.commit(branch, files)
        self.json({"commitUrl": f"{self.hub.address}/{name}/commit/{oid}", "commitOid": oid})

    def resolve(self, _: bytes, name: str, revision: str, path: str) -> None:
        """A file: small ones as they are, large ones by a redirection to the storage."""
        oid, files = self.commit(name, revision)
        if self.hub.repositories[name].gated:
            raise Refusal(403, "GatedRepo", f"Access to model {name} is restricted")
        if path not in files:
            raise Refusal(404, "EntryNotFound")
        content = files[path]
        if not path.endswith(LARGE):
            self.hub.sent += len(content) if self.command == "GET" else 0
            shown = content.swapcase() if path in self.hub.tampered else content
            return self.reply(shown, headers={"ETag": f'"{git_hash(content)}"', "X-Repo-Commit": oid})
        digest = sha256(content)
        self.hub.large[digest] = content
        if path in self.hub.tampered:
            self.hub.tampered.add(digest)
        headers = {
            "Location": f"{self.hub.storage}/large/{digest}",
            "X-Repo-Commit": oid,
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
        }
        return self.reply(b"", 302, headers)

    def large(self, oid: str) -> None:
        """A large file, or the rest of it, or its beginning where it is to be cut off."""
        content = self.hub.large[oid]
        if oid in self.hub.tampered:
            content = content.swapcase()
        start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
        rest = content[start:]
        part = rest[: self.hub.cut.pop(0)] if self.command == "GET" and self.hub.cut else rest
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.reply(part, 206 if start else 200, headers, len(rest))
        self.hub.sent += len(part) if self.command == "GET" else 0
        if len(part) < len(rest):
            self.wfile.flush()
            if self.hub.abrupt:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            self.close_connection = True


def sha256(content: bytes) -> str:
    """How the large storage names a file."""
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    """How git names a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: tuple[tuple[str, Callable[..., None]], ...] = (
    ("/api/whoami-v2", Handler.whoami),
    ("/api/repos/create", Handler.create),
    ("/api/validate-yaml", Handler.validate),
    (f"/api/models/{NAME}(?:/revision/(.+))?", Handler.info),
    (f"/api/models/{NAME}/tree/(.+)", Handler.tree),
    (f"/api/models/{NAME}/branch/(.+)", Handler.branch),
    (f"/api/models/{NAME}/preupload/(.+)", Handler.preupload),
    (f"/api/models/{NAME}/commit/(.+)", Handler.add),
    (rf"/{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    (r"/large/([0-9a-f]{64})", Handler.put),
    (f"/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
)
