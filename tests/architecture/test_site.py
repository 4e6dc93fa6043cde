"""Builds the site of the documents as `make docs-site` does: no warning passes, and what is wrong is one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, tracked


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    argv += ["-c", str(ROOT / "docs/site"), "-d", str(out / "read"), str(source), str(out / "site")]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_every_page_is_on_the_site(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    pages = [path for path in tracked() if path.suffix == ".md" and path.parts[0] in ("docs", "README.md")]
    assert len(pages) > 50
    assert not [page for page in pages if not (tmp_path / "site" / page.with_suffix(".html")).is_file()]
    states = (tmp_path / "site/docs/reference/states.html").read_text()
    assert len(re.findall(r'<img [^>]*src="[^"]*-states\.svg"', states)) == 3, (
        "charts are seen, not their text"
    )
    assert not [page for page in pages if "```mermaid" in page.read_text()]
    assert "url=README.html" in (tmp_path / "site/index.html").read_text()


@pytest.mark.slow
def test_a_dead_link_anchor_or_page_fails_it(tmp_path: Path) -> None:
    """In a copy of a few pages, each with one thing wrong."""
    source = tmp_path / "clone"
    (source / "docs/howto").mkdir(parents=True)
    for part in ("tutorial", "reference", "explanation", "contributing", "adr"):
        (source / "docs" / part).mkdir()
        (source / "docs" / part / "README.md").write_text(f"# {part}\n")
    for name in ("CHANGELOG.md", "AGENTS.md", "docs/README.md", "docs/which-page.md", "docs/howto/README.md"):
        (source / name).write_text("# Page\n\n## There\n")
    shutil.copy(ROOT / "LICENSE", source)
    (source / "README.md").write_text("# Top\n\n[well](docs/howto/README.md#there), [file](LICENSE)\n")
    assert build(source, tmp_path / "well").stderr == ""
    wrong = ("docs/howto/gone.md", "docs/howto/README.md#elsewhere", "#nowhere", "Makefile")
    (source / "README.md").write_text("# Top\n\n" + " ".join(f"[x]({link})" for link in wrong))
    done = build(source, tmp_path / "wrong")
    assert done.returncode != 0
    assert [link for link in wrong if link.rpartition("/")[2].rpartition("#")[2] not in done.stderr] == []
