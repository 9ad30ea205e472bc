"""A hub of data sets on this machine, as far as its client asks."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

Commits = Mapping[str, Mapping[str, bytes]]


@contextmanager
def hub_server(repository: str, commits: Commits) -> Iterator[tuple[str, list[str]]]:
    """Serve the commits of a data set, the last one also as ``main``; yields its address and what is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            path = urlparse(self.path).path
            if found := re.fullmatch(f"/datasets/{repository}/resolve/([^/]+)/(.+)", path):
                return self._file(found[1], found[2])
            if found := re.fullmatch(f"/api/datasets/{repository}(?:/revision/([^/]+))?", path):
                return self._commit(found[1] or "main")
            if found := re.fullmatch(f"/api/datasets/{repository}/(?:tree|paths-info)/([^/]+)(?:/(.*))?", path):
                return self._listed(found[1], found[2])
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

        do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - http.server's names

        def _commit(self, revision: str) -> None:
            commit = _commit_of(commits, revision)
            if commit is None:
                return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            files = [{"rfilename": name} for name in commits[commit]]
            about = {"id": repository, "sha": commit, "siblings": files, "private": False, "tags": [], "downloads": 0}
            return self._send(200, json.dumps(about).encode())

        def _listed(self, revision: str, folder: str | None) -> None:
            files = commits[str(_commit_of(commits, revision))]
            wanted = None
            if self.command == "POST":
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
            listed = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
                if (wanted is None or name in wanted) and name.startswith(f"{folder}/" if folder else "")
            ]
            self._send(200, json.dumps(listed).encode())

        def _file(self, revision: str, name: str) -> None:
            commit = _commit_of(commits, revision)
            content = commits[str(commit)].get(name)
            if content is None:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            tag = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": str(commit)}
            if asked_range := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start, end = int(asked_range[1]), int(asked_range[2] or len(content) - 1)
                part = {"Content-Range": f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"}
                return self._send(206, content[start : end + 1], tag | part)
            return self._send(200, content, tag)

        def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _commit_of(commits: Commits, revision: str) -> str | None:
    return list(commits)[-1] if revision == "main" else next((each for each in commits if each == revision), None)
