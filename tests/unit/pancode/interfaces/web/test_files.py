"""Shows that the console's files are those that were reviewed: digests, policy, size, no other address."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re

import httpx2
import pytest
from starlette.applications import Starlette

from pancode.interfaces.web import files
from pancode.interfaces.web.files import STATIC, WebFile, list_paths, policy_of, routes

MOST_BYTES = 110_000
"""Of what the first page loads, compressed: a slow line (1 Mbit/s) has it within a second, once."""
MOST_LATER = 56_000
"""Of what is loaded by the first page that shows it: what reads Markdown, rare pages, and what checks
a receipt. Nobody waits for the first, because the text stands there as it is meanwhile."""
VENDOR = STATIC / "vendor"
PACKAGES = {"preact": "preact.mjs", "preact/hooks": "hooks.mjs", "htm": "htm.mjs"}
OF_THE_PAGE = [name for name in list_paths() if name.endswith("js") and name != "answer.js"]
OURS = [name for name in list_paths() if not name.startswith("vendor/")]


def get(path: str, **headers: str) -> httpx2.Response:
    async def asked() -> httpx2.Response:
        transport = httpx2.ASGITransport(Starlette(routes=routes("f-1")))
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(asked())


def test_what_comes_from_others_is_what_was_taken_with_its_licence() -> None:
    rows = [row.split() for row in (VENDOR / "SHA256SUMS").read_text().splitlines() if row[0] != "#"]
    assert {name for _, name in rows} == {path.name for path in VENDOR.iterdir()} - {"SHA256SUMS"}
    for digest, name in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, f"make vendor: {name}"
    assert "MIT License" in (VENDOR / "LICENSE.preact").read_text()
    assert "Apache License" in (VENDOR / "LICENSE.htm").read_text()
    assert "Vitaly Puzrin" in (VENDOR / "LICENSE.markdown-it").read_text()


def test_all_of_it_is_small() -> None:
    sizes = {name: len(WebFile.of(STATIC / name).packed) for name in list_paths()}
    of_a_notice = sizes.pop("answer.html") + sizes.pop("answer.js")  # a page of its own, without the console
    first, found = set[str](), ["app.js"]
    while found:
        first.add(name := found.pop())
        found += [other for other in list_imports(name) if other not in first]
    later = {name: sizes.pop(name) for name in set(OF_THE_PAGE) - first}
    assert set(later) == {
        *("lib/markdown.js", "vendor/markdown-it.mjs"),
        *("pages/books.js", "pages/runproof.js", "pages/settings.js"),
    }
    assert sum(sizes.values()) <= MOST_BYTES and sum(later.values()) <= MOST_LATER, (sizes, later)
    assert of_a_notice <= 2_500


def list_imports(name: str) -> list[str]:
    """The files that the browser loads before it runs this one."""
    text = (STATIC / name).read_text()
    vendors = re.findall(r'^import .*from "(preact|preact/hooks|htm)";$', text, re.MULTILINE)
    near = re.findall(r'^(?:import|export) .*from "(\.[^"]+)";$', text, re.MULTILINE)
    own = [(STATIC / name).parent.joinpath(found).resolve().relative_to(STATIC.resolve()) for found in near]
    return [*(f"vendor/{PACKAGES[one]}" for one in vendors), *(one.as_posix() for one in own)]


def test_the_policy_lets_nothing_in_but_our_files_and_the_one_import_map() -> None:
    page = get("/").content
    (found,) = re.findall(rb'<script type="importmap">(.*?)</script>', page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(found).digest()).decode()
    policy = get("/").headers["content-security-policy"]
    assert policy == policy_of(page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["script-src"] == f"'self' 'sha256-{digest}'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert not re.search("unsafe|http|data:|[*]", policy)


def test_the_page_of_a_notice_may_do_no_more_than_the_console() -> None:
    page = get("/answer")
    policy = page.headers["content-security-policy"]
    assert policy == policy_of(page.content) and "script-src 'self';" in policy
    assert "sha256" not in policy and "default-src 'none'" in policy and "trusted-types 'none'" in policy


@pytest.mark.parametrize("name", OURS)
def test_a_file_of_ours_names_nothing_elsewhere_and_makes_no_markup_of_text(name: str) -> None:
    text = (STATIC / name).read_text()
    addresses = set(re.findall(r"https?://[^\s\"'`<)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|\bon\w+=\"", text
    )
    assert not re.search(r"(?:href|src|from|import)\s*[=(]?\s*[\"']/", text), "relative addresses only"
    for found in re.findall(r"(?:from|import) \"(\.[^\"]+)\"", text):
        assert (STATIC / name).parent.joinpath(found).resolve().is_file(), found


@pytest.mark.parametrize("path", ["/", "/answer"])
def test_a_page_names_its_fleet(path: str) -> None:
    assert '<meta name="pancode-fleet" content="f-1">' in get(path).text


def test_a_file_is_sent_compressed_and_once() -> None:
    (folder,) = set(re.findall(r"\./([0-9a-f]{16})/", get("/").text + get("/answer").text))
    at = f"/{folder}/app.js"
    first = get(at, **{"accept-encoding": "gzip"})
    assert first.headers["cache-control"] == "max-age=31536000, immutable"
    assert first.headers["content-encoding"] == "gzip"
    here = [line.strip(" ") for line in (STATIC / "app.js").read_text().split("\n")]
    assert first.text.split("\n") == ["" if line.startswith(("//", "/**")) else line for line in here]
    assert "content-encoding" not in get(at, **{"accept-encoding": "identity"}).headers
    again = get(at, **{"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert get("/").headers["cache-control"] == "no-cache"
    own = (STATIC / files.PAGE).read_text().replace('"./', '"').replace('content=""', 'content="f-1"')
    assert get("/").text.replace(f"./{folder}/", "") == own


@pytest.mark.parametrize(
    "path", ["/vendor/", "/serving.py", "/../serving.py", "/%2e%2e/serving.py", "/vendor/SHA256SUMS", "/lib"]
)
def test_what_is_not_on_the_list_is_not_there(path: str) -> None:
    assert get(path).status_code == 404
