"""The console names the characters that the terminal names: what is not seen, or turns the reading."""

from __future__ import annotations

import json
import re

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Mode, Safety
from pancode.interfaces.client.retry import NEEDS_YES
from pancode.interfaces.http.bodies import ActBody
from pancode.kernel import formatting
from pancode.sessions.routes.sessions import TermsBody
from tests.architecture.sources import ROOT

WORDS = ROOT / "pancode/interfaces/web/static/lib/words.js"


def test_the_console_names_what_the_terminal_names() -> None:
    (table,) = re.findall(
        r"^const HIDDEN = /\(\?!\[\\t\\n\]\)\[(.*)\]/gu;$", WORDS.read_text(), flags=re.MULTILINE
    )
    categories = re.findall(r"\\p\{(\w+)\}", table)
    ranges = re.findall(r"\\u\{(\w+)\}(?:-\\u\{(\w+)\})?", table)
    blank = {chr(code) for low, high in ranges for code in range(int(low, 16), int(high or low, 16) + 1)}
    assert tuple(categories) == formatting.HIDING
    assert blank == formatting.BLANK
    for char in "\u061c\u00ad\U000e0041\u202e\u2066\u200b":
        assert formatting.reveal_invisible(char) == f"<U+{ord(char):04X}>"


def test_the_console_has_the_words_of_all_faces_for_an_outcome() -> None:
    (table,) = re.findall(r"^export const STATUSES = (\{.*\});$", WORDS.read_text(), flags=re.MULTILINE)
    assert dict(re.findall(r'(\w+): "(\w+)"', table)) == formatting.STATUSES


def test_lines_of_a_log_take_away_no_sign_that_turns_the_reading() -> None:
    """They are in no list of what is taken away. What draws all markup names them, no page by itself."""
    lines = (WORDS.parent / "lines.js").read_text()
    assert "202a" not in lines and "2066" not in lines
    assert "pieced(text)" in (WORDS.parent / "live.js").read_text()
    pages = sorted((WORDS.parents[1] / "pages").glob("*.js"))
    assert pages and {page.name for page in pages if "visible" in page.read_text()} == {
        "runlog.js"
    }  # a file that is saved


def test_a_sum_is_never_shown_without_how_many_costs_of_it_nobody_knows() -> None:
    pages = sorted((WORDS.parents[1] / "pages").glob("*.js"))
    assert pages
    for page in pages:
        sums = re.findall(r"\busd\(\S+?\.(?:cost|total)\.usd\b[^)]*", page.read_text())
        assert all(re.search(r"\.usd, \S+\.unknown", one) for one in sums), (page.name, sums)
    text = WORDS.read_text()
    assert "(unknown && Number(text) === 0)) return" in text.partition("export function usd(")[2][:200]


def test_the_page_of_a_chat_offers_the_terms_that_a_session_has() -> None:
    pages = WORDS.parents[1] / "pages"
    chat, form = (pages / "chat.js").read_text(), (WORDS.parent / "form.js").read_text()
    (efforts,) = re.findall(r"^const EFFORTS = (\[.*\]);$", chat, flags=re.MULTILINE)
    assert json.loads(efforts) == [str(one) for one in Reasoning]
    assert keys_of("TERMS", chat) == set(TermsBody.model_fields) - set(ActBody.model_fields) - {"yes"}
    assert keys_of("MODES", form) == set(Mode) and keys_of("LEVELS", form) == set(Safety)
    assert f'const NEEDS_YES = "{NEEDS_YES}";' in chat


def keys_of(name: str, script: str) -> set[str]:
    (table,) = re.findall(rf"^const {name} = \{{ (.*) \}};$", script, flags=re.MULTILINE)
    return set(re.findall(r'(?:^|", )"?([\w-]+)"?: "', table))
