"""Abstract tool calls ("edit", "shell", ...) turned into the tools the CLI offers."""

from __future__ import annotations

import os
import re
from typing import Any

from .script import Script, ScriptError
from .wires import Req

TOOL_NAMES = {
    "write": [
        "write",
        "write_file",
        "create",
        "create_file",
        "writefile",
        "fs_write",
        "text_editor",
        "apply_patch",
    ],
    "edit": ["edit", "replace", "str_replace", "edit_file", "str_replace_editor", "apply_patch"],
    "read": ["read", "read_file", "view", "readfile", "cat", "fs_read"],
    "shell": [
        "bash",
        "shell",
        "run_shell_command",
        "exec_command",
        "shell_command",
        "exec",
        "execute",
        "local_shell",
        "container.exec",
        "run_command",
        "execute_command",
        "powershell",
    ],
    "list": ["ls", "list_directory", "list", "list_dir", "glob"],
    "search": ["grep", "grep_search", "search_file_content", "rg", "search"],
}


ARG_NAMES = {
    "path": ["file_path", "filepath", "path", "absolute_path", "filename", "file", "target_file", "dir_path"],
    "content": ["content", "contents", "file_text", "filetext", "text", "new_content"],
    "old": ["old_string", "oldstring", "old_str", "old_text", "oldtext", "old", "search"],
    "new": ["new_string", "newstring", "new_str", "new_text", "newtext", "new", "replace"],
    "command": ["command", "cmd", "script", "commandline"],
    "pattern": ["pattern", "query", "regex"],
}


def squash(s: str) -> str:
    return re.sub(r"[^a-z0-9]", "", s.lower())


def _shell_quote(s: str) -> str:
    return "'" + s.replace("'", "'\\''") + "'"


def _as_shell(kind: str, args: dict) -> str:
    p = _shell_quote(args.get("path", "."))
    if kind == "write":
        return f"printf '%s' {_shell_quote(args.get('content', ''))} > {p}"
    if kind == "edit":
        return (
            f"python3 - {p} {_shell_quote(args.get('old', ''))} {_shell_quote(args.get('new', ''))} "
            "<<'PY'\nimport sys\np,o,n=sys.argv[1:]\ns=open(p).read()\n"
            "open(p,'w').write(s.replace(o,n,1))\nPY"
        )
    if kind == "read":
        return f"cat {p}"
    if kind == "list":
        return f"ls {p}"
    if kind == "search":
        return f"grep -rn {_shell_quote(args.get('pattern', ''))} {p}"
    return args.get("command", "true")


def _as_patch(kind: str, args: dict) -> str:
    path = args.get("path", "file.txt")
    if kind == "write":
        body = "\n".join("+" + line for line in args.get("content", "").rstrip("\n").split("\n"))
        return f"*** Begin Patch\n*** Add File: {path}\n{body}\n*** End Patch\n"
    old = "\n".join("-" + x for x in args.get("old", "").split("\n"))
    new = "\n".join("+" + x for x in args.get("new", "").split("\n"))
    return f"*** Begin Patch\n*** Update File: {path}\n@@\n{old}\n{new}\n*** End Patch\n"


def _filler(schema: dict) -> Any:
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    for alt in schema.get("anyOf") or schema.get("oneOf") or []:
        return _filler(alt)
    t = schema.get("type", "string")
    t = (t[0] if isinstance(t, list) else t).lower()
    if t == "string":
        return "fakemodel"
    if t in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"boolean": False, "array": [], "object": {}}.get(t)


def _mine(prop: str) -> str | None:
    """Which of our argument names a tool's property stands for."""
    return next((m for m, names in ARG_NAMES.items() if squash(prop) in {squash(n) for n in names}), None)


def _shaped(mine: str, value: Any, prop: dict, cwd: str | None) -> Any:
    """The value as this property wants it: an absolute path, a command as a list."""
    wants_absolute = "absolute" in str(prop.get("description", "")).lower()
    if mine == "path" and cwd and not os.path.isabs(value) and wants_absolute:
        return os.path.join(cwd, value)
    if mine == "command" and "array" in str(prop.get("type", "")).lower():
        return ["bash", "-lc", value]
    return value


def _edits(args: dict, prop: dict) -> list[dict]:
    """Edits as a list of replacements, as some tools take them: [{oldText, newText}]."""
    item = (prop.get("items") or {}).get("properties") or {"oldText": {}, "newText": {}}
    named = {k: _mine(k) for k in item}
    return [{k: args[m] for k, m in named.items() if m in ("old", "new")}]


def _fit_args(args: dict, tool: dict, cwd: str | None) -> dict:
    """Our arguments under the names of the offered tool's schema."""
    schema = tool["schema"] or {}
    props: dict = {k: v if isinstance(v, dict) else {} for k, v in (schema.get("properties") or {}).items()}
    if not props:
        return dict(args)
    out: dict = {}
    for prop, ps in props.items():
        mine = _mine(prop)
        if mine in args:
            out[prop] = _shaped(str(mine), args[mine], ps, cwd)
        elif prop == "edits" and "old" in args:
            out[prop] = _edits(args, ps)
    for prop in schema.get("required") or []:
        if prop not in out:
            out[prop] = _filler(props.get(prop) or {})
    return out


def _substitute(v: Any, cwd: str | None) -> Any:
    if isinstance(v, str):
        return v.replace("${cwd}/", (cwd + "/") if cwd else "").replace("${cwd}", cwd or ".")
    if isinstance(v, dict):
        return {k: _substitute(x, cwd) for k, x in v.items()}
    if isinstance(v, list):
        return [_substitute(x, cwd) for x in v]
    return v


def _by_name(req: Req) -> dict[str, dict]:
    """The offered tools by squashed name; a namespaced one also as namespace + name, one of
    a tool server (`mcp__server__name`) also without its server."""
    out = {}
    for t in reversed(req.tools):
        if t.get("namespace"):
            out[squash(t["namespace"] + t["name"])] = t
        out.setdefault(squash(t["name"].rpartition("__")[2]), t)
        out[squash(t["name"])] = t
    return out


def _specs(turn: dict) -> list[dict]:
    one = [{"tool": turn["tool"], "args": turn.get("args", {})}] if turn.get("tool") else []
    exact = ([turn["call"]] if turn.get("call") else []) + turn.get("calls", [])
    return one + turn.get("tools", []) + [{"call": c} for c in exact]


def resolve_calls(turn: dict, req: Req, script: Script) -> list[dict]:
    """The tool calls of a turn as [{"name", "arguments", "kind", "namespace"?}].

    An abstract tool ("write", "shell", ...) becomes a call of the first offered
    tool that fits; when none is offered, a shell command if a shell is offered,
    else a note in the text (key "missing")."""
    cwd, offered = script.cwd or req.cwd, _by_name(req)
    return [
        _exact(s["call"], offered, cwd) if "call" in s else _abstract(s, offered, cwd, req)
        for s in _specs(turn)
    ]


def _exact(c: dict, offered: dict[str, dict], cwd: str | None) -> dict:
    t = offered.get(squash(c["name"])) or {"name": c["name"], "kind": "function"}
    args = _substitute(c.get("arguments", {}), cwd)
    return {**_named(t), "arguments": args, "kind": c.get("kind") or t["kind"]}


def _named(tool: dict) -> dict:
    return {k: tool[k] for k in ("name", "namespace") if tool.get(k)}


def _first(kind: str, offered: dict[str, dict]) -> dict | None:
    return next((offered[squash(n)] for n in TOOL_NAMES[kind] if squash(n) in offered), None)


def _abstract(s: dict, offered: dict[str, dict], cwd: str | None, req: Req) -> dict:
    kind, args = s["tool"], _substitute(s.get("args", {}), cwd)
    if kind not in TOOL_NAMES:
        raise ScriptError(f"unknown abstract tool {kind!r}; use one of {sorted(TOOL_NAMES)} or a 'call'")
    tool = _first(kind, offered)
    if tool is None and kind != "shell":
        tool = _first("shell", offered)
        args = {"command": _as_shell(kind, args)}
    if tool is None:
        have = ", ".join(t["name"] for t in req.tools)[:400]
        return {"missing": f"[fakemodel] no tool for '{kind}' is offered: {have}"}
    if squash(tool["name"]) == "applypatch":
        return _patch_call(tool, _as_patch(kind, args))
    return {**_named(tool), "kind": tool["kind"], "arguments": _fit_args(args, tool, cwd)}


def _patch_call(tool: dict, patch: str) -> dict:
    if tool["kind"] == "custom":
        return {**_named(tool), "kind": "custom", "arguments": patch}
    props = list((tool["schema"].get("properties") or {"input": {}}).keys())
    key = next((p for p in props if p in ("input", "patch", "patchText", "patch_text")), props[0])
    return {**_named(tool), "kind": "function", "arguments": {key: patch}}
