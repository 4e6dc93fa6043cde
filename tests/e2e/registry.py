"""A registry of npm's whose archives are made of installed packages; asked by HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, and nothing said on the terminal."""

    def log_message(self, *words: object) -> None:
        pass

    def translate_path(self, path: str) -> str:
        """The name of a package with a scope has its slash escaped."""
        return super().translate_path(path.replace("%2f", "--").replace("%2F", "--"))


@contextmanager
def serving(place: Path, address: str, *packages: Path) -> Iterator[str]:
    """The registry's address; `place` is a new folder for its files."""
    place.mkdir()
    server = ThreadingHTTPServer((address, 0), partial(_Quiet, directory=str(place)))
    url = f"http://{address}:{server.server_port}"
    for package in packages:
        _offer(place, url, package)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{url}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _offer(place: Path, url: str, package: Path) -> None:
    archive = place / f"{package.name}.tgz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(package, arcname="package")
    told = json.loads((package / "package.json").read_text())
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    dist = {"tarball": f"{url}/{archive.name}", "integrity": f"sha512-{digest}"}
    one = {**told, "optionalDependencies": {}, "dist": dist}
    listed = {
        "name": told["name"],
        "dist-tags": {"latest": told["version"]},
        "versions": {told["version"]: one},
    }
    (place / told["name"].replace("/", "--")).write_text(json.dumps(listed))
