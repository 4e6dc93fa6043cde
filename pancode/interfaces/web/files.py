"""Serves the files of the web console: a fixed list, compressed once, under a strict policy."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

STATIC = Path(__file__).with_name("static")
PAGE, ANSWER = "index.html", "answer.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Suffix to content type; files of other kinds are not served."""
_FOR_READERS = {
    ".css": re.compile(rb"/\*.*?\*/|^[ \t]+", re.DOTALL | re.MULTILINE),
    ".js": re.compile(rb"^[ \t]*(?:(?://.*|/\*\*.*\*/)$)?", re.MULTILINE),
}
"""Comments and indentation of our files, which a browser has no use for; lines keep their numbers."""
_OWN_FILE = re.compile(rb'(?<=")(?:\./)?(?=(?:app\.js|answer\.js|style\.css|icon\.svg|vendor/)[^"]*")')
"""Matches where a page names one of its own files, but not a path of the API."""
_FOR_EVER, _ASK_AGAIN = "max-age=31536000, immutable", "no-cache"
_IMPORT_MAP = re.compile(rb'<script type="importmap">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file as it is sent. `mark`: its ETag."""

    data: bytes
    packed: bytes
    kind: str
    mark: str

    @classmethod
    def of(cls, path: Path) -> WebFile:
        data = path.read_bytes()
        if path.suffix in _FOR_READERS:
            data = _FOR_READERS[path.suffix].sub(b"", data)
        return cls.made(data, TYPES[path.suffix])

    @classmethod
    def made(cls, data: bytes, kind: str) -> WebFile:
        mark = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        return cls(data, gzip.compress(data, 9, mtime=0), kind, mark)


def routes(fleet: str) -> list[BaseRoute]:
    """Return one route for each file, and `/` and `/answer` for the fleet's pages; no other path exists.

    The files of a page lie in a folder named by the digest of them all. So a browser asks for each once, and
    a page of another version never gets a file of this one.
    """
    files = {name: WebFile.of(STATIC / name) for name in list_paths()}
    version = hashlib.sha256("".join(file.mark for file in files.values()).encode()).hexdigest()[:16]
    pages = {name: _page(files[name], version, fleet) for name in (PAGE, ANSWER)}
    policy, plain = policy_of(pages[PAGE].data), policy_of(pages[ANSWER].data)
    return [
        _route("/", pages[PAGE], policy, _ASK_AGAIN),
        _route("/answer", pages[ANSWER], plain, _ASK_AGAIN),
        *(
            _route(f"/{version}/{name}", file, policy, _FOR_EVER)
            for name, file in files.items()
            if name not in pages
        ),
    ]


def _page(file: WebFile, version: str, fleet: str) -> WebFile:
    """Return the page with the fleet's id, and its files' names changed to the folder of this version."""
    data = file.data.replace(b'"pancode-fleet" content=""', f'"pancode-fleet" content="{fleet}"'.encode())
    return WebFile.made(_OWN_FILE.sub(f"./{version}/".encode(), data), file.kind)


def list_paths() -> list[str]:
    """Return the paths of the served files, below the folder of static files."""
    found = (path for path in STATIC.rglob("*") if path.suffix in TYPES)
    return sorted(path.relative_to(STATIC).as_posix() for path in found)


def policy_of(page: bytes) -> str:
    """Return the page's policy: nothing from elsewhere, nothing inline but the import map, by its digest."""
    found = _IMPORT_MAP.findall(page)
    maps = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in found)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {maps}".rstrip(),
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _route(path: str, file: WebFile, policy: str, cached: str) -> Route:
    head = {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": cached,
        "Vary": "Accept-Encoding",
        "ETag": file.mark,
    }

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == file.mark:
            return Response(status_code=304, headers=head)
        if "gzip" in request.headers.get("accept-encoding", ""):
            packed = {**head, "Content-Encoding": "gzip"}
            return Response(file.packed, media_type=file.kind, headers=packed)
        return Response(file.data, media_type=file.kind, headers=head)

    return Route(path, answer, methods=["GET"])
