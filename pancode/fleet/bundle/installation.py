"""Takes the node agent's libraries from this installation, without a network, if they run on the node."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from pancode.fleet.bundle.archive import Contents
from pancode.fleet.bundle.contents import is_needed
from pancode.fleet.bundle.errors import NotHere
from pancode.fleet.bundle.platform import NodePlatform, is_required

ROOTS = (
    *("pydantic", "cryptography", "redis", "hiredis", "rq", "pyyaml", "google-re2"),
    *("tree-sitter", "tree-sitter-bash", "httpx2", "socksio", "nvidia-ml-py"),
)
"""The node agent's libraries: the same as the extra `node` of our distribution."""


def collect_libraries(platform: NodePlatform, roots: tuple[str, ...] = ROOTS) -> Contents:
    """Return the libraries' files, by path in `lib/`. NotHere if one of them would not run on the node."""
    out: dict[str, Path | bytes] = {}
    for distribution in resolve_requirements(platform, roots):
        name = distribution.metadata["Name"]
        tags = re.findall(r"^Tag:\s*(\S+)", distribution.read_text("WHEEL") or "", re.MULTILINE)
        if distribution.files is None or not tags:
            raise NotHere(f"{name} was not installed from a wheel")
        if not any(platform.accepts(tag) for tag in tags):
            raise NotHere(f"the installed {name} ({tags[0]}) does not run on {platform.key}")
        for path in distribution.files or ():
            if is_needed(str(path)):
                source = Path(str(distribution.locate_file(path)))
                if source.is_file():
                    out[str(path)] = source
    return out


def resolve_requirements(platform: NodePlatform, roots: tuple[str, ...]) -> list[metadata.Distribution]:
    """Return `roots` and everything that they require on that node, each once, by name."""
    found: dict[str, metadata.Distribution] = {}
    todo = list(roots)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise NotHere(f"{name} is not installed on the coordinator's machine") from error
        found[name] = distribution
        todo += _list_requirements(distribution, platform)
    return [found[name] for name in sorted(found)]


def _list_requirements(distribution: metadata.Distribution, platform: NodePlatform) -> list[str]:
    out = []
    for text in distribution.requires or ():
        wish, _, marker = text.partition(";")
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", wish)
        if match and is_required(marker, platform.python):
            out.append(match[1])
    return out
