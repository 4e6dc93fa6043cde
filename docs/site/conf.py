"""How Sphinx makes the site (`make docs-site`): the pages as they are, every warning an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pancode import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "PanCode"
release = __version__
root_doc = "README"
extensions = ["myst_parser"]
# The clone itself is the source, so that a link means what it means where the files are read.
include_patterns = ["README.md", "CHANGELOG.md", "AGENTS.md", "docs/**.md"]
exclude_patterns = [".*", "build", "var", "tests", "pancode", "node_agent"]
myst_heading_anchors = 6
nitpicky = True
html_theme = "alabaster"
html_theme_options = {"description": "Your machines, every coding agent, one policy.", "page_width": "68em"}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_show_copyright = False
html_copy_source = False

_PARTS = ("tutorial", "howto", "reference", "explanation", "contributing", "adr")


def _contents(app: Sphinx, name: str, source: list[str]) -> None:
    """A table of contents behind each README: users who read the files need none, a site does."""
    path = Path(name)
    if path.name == "README":
        listed = _listed(Path(app.srcdir), path.parent.as_posix(), source[0])
        source[0] += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(listed) + "\n```\n"


def _listed(root: Path, folder: str, text: str) -> list[str]:
    """The pages below a README, in its own job."""
    match folder:
        case ".":
            return ["docs/README", "CHANGELOG", "AGENTS"]
        case "docs":
            return ["which-page", *[f"{part}/README" for part in _PARTS]]
        case _:
            found = [*(root / folder).glob("*.md"), *(root / folder).glob("*/README.md")]
            names = [page.relative_to(root / folder).with_suffix("").as_posix() for page in found]
            return sorted({*names} - {"README"}, key=lambda name: (text.find(f"({name}.md)"), name))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _contents)
