"""Sets one value in the text of a panagents.yaml, keeping every other byte. No I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from pancode.kernel.documents import parse_document
from pancode.kernel.errors import ConfigError

Path = Sequence[str]
STEP = 2
"""The indentation width if the file has no indented lines."""


def set_value(text: str, path: Path, value: object, place: str) -> str:
    """Return the text with the value set at the path: in place of the old value, or after the last sibling
    key. ConfigError if the text is not YAML, or if its form does not allow this change."""
    parse_document(text, place)
    edited = _edit_value(text, path, value)
    # An insertion after an unterminated last line terminates it, which a block scalar then includes.
    befores = [parse_document(before, place).data for before in (text, _end_line(text))]
    if _data_of(edited) not in [with_value(before, path, value) for before in befores]:
        raise ConfigError(
            f"{place}: cannot set {'.'.join(path)} here without changing something else",
            why="it is written with an anchor, a tag or another unusual form",
            fix=f"edit {place} by hand, then: pancode config check --kind agents",
        )
    return edited


def _data_of(text: str) -> object:
    """Return the text's data; None if the text is not valid YAML, as after an edit."""
    try:
        return parse_document(text, "").data
    except ConfigError:
        return None


def with_value(data: dict[str, object], path: Path, value: object) -> dict[str, object]:
    """Return the data with the value at the path, which is what the edited text must parse to."""
    first, *rest = path
    if not rest:
        return {**data, first: value}
    below = data.get(first)
    return {**data, first: with_value(below if isinstance(below, dict) else {}, rest, value)}


def format_flow(value: object) -> str:
    """Format a value on one line."""
    if isinstance(value, str) and ("\n" in value or not value.isprintable()):
        return json.dumps(value, ensure_ascii=False)
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...").strip()
    if isinstance(value, str) and text == value and (value.startswith(":") or set(value) & set("[]{},?")):
        return json.dumps(value, ensure_ascii=False)  # these characters have a meaning inside braces
    return text


def format_block(tree: object, indent: int) -> str:
    """Format keys and values in block style; multi-line texts stay readable."""
    if not isinstance(tree, dict):
        return f"{format_flow(tree)}\n"
    lines = []
    for key, value in tree.items():
        head = f"{' ' * indent}{format_flow(key)}:"
        if isinstance(value, dict) and value:
            lines.append(f"{head}\n{format_block(value, indent + STEP)}")
        elif isinstance(value, str) and "\n" in value:
            lines.append(f"{head} {_format_literal(value, indent + STEP)}")
        else:
            lines.append(f"{head} {format_flow(value)}\n")
    return "".join(lines)


def _format_literal(text: str, indent: int) -> str:
    """Return a YAML block scalar if it preserves the text, else a quoted string."""
    lines = text.removesuffix("\n").split("\n")
    plain = all(line == line.rstrip() and line.isprintable() for line in lines)
    if not plain or not lines[0] or lines[0].startswith(" "):
        return f"{format_flow(text)}\n"
    mark = "|" if text.endswith("\n") else "|-"
    return f"{mark}\n" + "".join(f"{' ' * indent}{line}\n" if line else "\n" for line in lines)


def _edit_value(text: str, path: Path, value: object) -> str:
    node, key = yaml.compose(text, yaml.SafeLoader), None
    for depth, step in enumerate(path):
        if not isinstance(node, yaml.MappingNode):
            return _replace_value(text, node, key, _nest_value(path[depth:], value))
        key, found = next((pair for pair in node.value if pair[0].value == step), (None, None))
        if found is None:
            # a missing key: insert it after the last key of its mapping
            tree = _nest_value(path[depth:], value)
            if node.flow_style:
                end = node.end_mark.index - 1
                inner = format_flow(tree).removeprefix("{").removesuffix("}")
                comma = ", " if node.value and not text[:end].rstrip().endswith(",") else ""
                kept = text[:end] if node.value else text[:end].rstrip()
                return f"{kept}{comma}{inner}{text[end:]}"
            column = node.value[0][0].start_mark.column
            end = _line_end(text, _end_of(text, node))
            return f"{_end_line(text[:end])}{format_block(tree, column)}{text[end:]}"
        node = found
    return _replace_value(text, node, key, value)


def _nest_value(path: Path, value: object) -> object:
    """Nest the value under the keys of the path."""
    for step in reversed(path):
        value = {step: value}
    return value


def _replace_value(text: str, node: yaml.Node | None, key: yaml.Node | None, value: object) -> str:
    """Return the text with the new value in place of the old one."""
    if node is None or key is None:
        return f"{_end_line(text)}{format_block(value, 0)}"
    start, end = node.start_mark.index, _end_of(text, node)
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        # Remove the value's lines and put the new value after its key: lines may begin in the key's column.
        colon = text.index(":", key.end_mark.index) + 1
        first = text.rindex("\n", 0, start) + 1
        return f"{text[:colon]} {format_flow(value)}{text[colon:first]}{text[_line_end(text, end) :]}"
    gap = " " if start == end and text[start - 1 : start] == ":" else ""
    if "\n" in text[start:end] and text[end - 1 : end] == "\n":
        end -= 1
    return f"{text[:start]}{gap}{format_flow(value)}{text[end:]}"


def _end_of(text: str, node: yaml.Node) -> int:
    """Return the end of a value. The parser's end mark of a block is too late: just before the next token."""
    if isinstance(node, yaml.MappingNode | yaml.SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end_of(text, last[1] if isinstance(last, tuple) else last)
    start, end = node.start_mark.index, node.end_mark.index
    return start + len(text[start:end].rstrip()) if end > start else start


def _line_end(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _end_line(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
