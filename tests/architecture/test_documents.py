"""Holds the documents to their links: every relative link leads to a file, every anchor to a heading."""

from __future__ import annotations

import re
from pathlib import Path

from pancode.agents.agents import ABLE
from pancode.agents.runtimes import RUNTIMES
from tests.architecture.sources import ROOT, tracked

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"docs/adr/(\d{4}[a-z0-9-]+\.md)")
INDEX = ROOT / "docs" / "which-page.md"
KINDS = ("tutorial", "howto", "reference", "explanation", "adr", "contributing", "contributing/packages")


def _pages() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def _broken(page: Path) -> list[str]:
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(f"{page.relative_to(ROOT)} -> {link}")
    return broken


def _named(page: str, begin: str, end: str) -> set[str]:
    """The programs that a sentence of a page names."""
    (words,) = re.findall(re.escape(begin) + r"(.*?)" + re.escape(end), (ROOT / page).read_text(), re.DOTALL)
    return set(re.findall(r"`([a-z-]+)`", words))


def test_who_takes_turns_and_who_has_the_fleets_tools_is_as_the_tables_have_it() -> None:
    turns = _named("CHANGELOG.md", "a stream continues at its last number.", "; a rule that asks")
    assert turns == {kind.name for kind in RUNTIMES.values() if kind.takes_turns}
    asked = {kind.name for kind in RUNTIMES.values() if kind.asks_users}
    assert _named("docs/howto/inbox.md", "as its node reports again.", "wait like this") == asked
    hearing = {kind.name for kind in RUNTIMES.values() if kind.hears}
    assert _named("docs/howto/health.md", "no activity was seen. Only", "take messages") == hearing
    for page, end in (
        ("README.md", ". With the other programs"),
        ("CHANGELOG.md", ". On the other programs"),
    ):
        assert _named(page, "has the fleet's tools on", end) == set(ABLE)


def test_every_link_leads_somewhere() -> None:
    assert not [link for page in _pages() for link in _broken(page)]


def test_every_page_is_reached_from_its_index() -> None:
    for kind in KINDS:
        folder = ROOT / "docs" / kind
        index, prefix = (INDEX, f"{kind}/") if kind == "howto" else (folder / "README.md", "")
        pages = {page.name for page in folder.glob("*.md")} - {"README.md"}
        assert not [page for page in pages if f"({prefix}{page})" not in index.read_text()], index


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(page.name[:4]) for page in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_index_of_decisions_has_the_state_that_each_page_says_below_its_title() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    wrong = []
    for page in sorted(folder.glob("[0-9]*.md")):
        state = page.read_text().splitlines()[2].partition(" · ")[0].removeprefix("State: ")
        shown = re.sub(r"\[(\d+)\]\([^)]+\)", r"\1", state)
        row = next((line for line in index.splitlines() if f"({page.name})" in line), "")
        if not row.endswith(f"| {shown} |"):
            wrong.append(page.name)
    assert not wrong


def test_every_decision_that_a_file_names_by_its_path_exists() -> None:
    text = [path for path in tracked() if path.suffix in {".md", ".py", ".toml", ".yml"}]
    named = {name for path in text for name in NAMED.findall((ROOT / path).read_text())}
    assert named and not [name for name in sorted(named) if not (ROOT / "docs" / "adr" / name).is_file()]


def test_every_make_command_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in _pages() for name in re.findall(r"(?:\$ |`)make ([a-z0-9-]+)", page.read_text())
    }
    assert named and named <= targets, named - targets
