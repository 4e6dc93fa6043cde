"""The console's one style sheet: every rule is for something, and every colour can be read."""

from __future__ import annotations

import re

import pytest

from pancode.interfaces.web.files import STATIC, list_paths

SHEET = re.sub(r"/\*.*?\*/", "", (STATIC / "style.css").read_text(), flags=re.DOTALL)
SOURCES = {name: (STATIC / name).read_text() for name in list_paths() if name.endswith((".js", ".html"))}
TONES = ("ok", "accent", "warn", "bad", "ghost")
GROUNDS = ("back", "panel", "sunk")
TINT = 0.11
"""How much of its tone the ground of a badge or of a changed line has, as `--tint` says."""

Colour = tuple[float, float, float]


def tokens(scheme: str) -> dict[str, Colour]:
    """Each colour of `:root` in a scheme, as red, green and blue from 0 to 1."""
    found = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", SHEET)
    return {name: _read(light if scheme == "light" else dark) for name, light, dark in found}


def _read(text: str) -> Colour:
    digits = text[1:] if len(text) == 7 else "".join(one * 2 for one in text[1:])
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def mixed(over: Colour, ground: Colour, share: float) -> Colour:
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(over, ground, strict=True))
    return red, green, blue


def contrast(one: Colour, other: Colour) -> float:
    """WCAG 2.2: the relative luminance of the lighter to that of the darker, from 1 to 21."""

    def luminance(colour: Colour) -> float:
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_of_contrast_is_that_of_the_standard() -> None:
    assert contrast(_read("#000"), _read("#fff")) == pytest.approx(21)
    assert contrast(_read("#767676"), _read("#fff")) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_of_every_colour_can_be_read_on_every_ground(scheme: str) -> None:
    known = tokens(scheme)
    pairs = {
        f"{words} on {ground}": contrast(known[words], known[ground])
        for words in ("text", "quiet", "cyan", *TONES)
        for ground in GROUNDS
    }
    for tone in TONES:
        tint = mixed(known[tone], known["panel"], TINT)
        pairs[f"{tone} on its tint"] = contrast(known[tone], tint)
        pairs[f"text on the tint of {tone}"] = contrast(known["text"], tint)
        pairs[f"text on the word mark of {tone}"] = contrast(known["text"], mixed(known[tone], tint, 0.28))
    pairs["quiet on a badge without a tone"] = contrast(
        known["quiet"], mixed(known["quiet"], known["panel"], TINT)
    )
    pairs["white on a filled button"] = contrast(known["fill"], _read("#fff"))
    assert {pair: round(found, 2) for pair, found in pairs.items() if found < 4.5} == {}
    for ground in GROUNDS:
        assert contrast(known["edge"], known[ground]) >= 3, "the edge of a field"
        assert contrast(known["accent"], known[ground]) >= 3, "the mark of what has the focus"


def test_every_colour_is_a_token_and_every_token_is_used() -> None:
    head, _, rules = SHEET.partition("*, ::before")
    assert re.search(rf"var\(--tone\) {TINT:.0%}, transparent", SHEET)
    plain = set(re.findall(r"#[0-9a-f]{3,8}\b", rules)) - {"#fff", "#0000"}
    assert plain == set(re.findall(r"mark \{ background: light-dark\((#\w+), (#\w+)\)", rules)[0])
    for name in set(re.findall(r"--(\w+):", head)):
        assert f"var(--{name})" in SHEET, name


def test_every_class_of_the_sheet_is_on_a_page_and_every_glyph_is_drawn() -> None:
    selectors = re.sub(r"\{[^{}]*\}", "{}", SHEET)
    made = r"f\d+|s\d|b"  # lines.js: the colours of a terminal
    classes = {name for name in re.findall(r"\.([a-z][\w-]*)", selectors) if not re.fullmatch(made, name)}
    text = "\n".join(SOURCES.values())
    assert [one for one in sorted(classes) if not re.search(rf"""["'`\s]{one}["'`\s$]""", text)] == []
    glyphs = set(re.findall(r"^  (\w+): \[", SOURCES["lib/glyphs.js"], re.MULTILINE))
    looks = re.search(r"const LOOKS = \{(.*?)\n\};", SOURCES["lib/words.js"], re.DOTALL)
    assert looks
    states = {pair.split()[1] for pair in re.findall(r'"([a-z]+ [a-z]+)":', looks[1])}
    assert states and states <= glyphs
    places = set(re.findall(r'\["\w", "(\w+)", "\w+"', SOURCES["lib/keys.js"]))
    assert len(places) >= 9 and places <= glyphs
