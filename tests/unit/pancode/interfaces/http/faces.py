"""The acts that the web console and `top` can ask, read out of their source; and why they lack the others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pancode.runs.needs import ACT_WORDS
from tests.architecture.sources import ROOT

WEB, TOP = ROOT / "pancode/interfaces/web/static", ROOT / "pancode/interfaces/tui"
OF_A_TERMINAL = "at the machine itself, with its files, its SSH or its secrets at hand"
OF_A_PROGRAM = "a program asks it, and no user"
LOOKED = "`pancode status` and a tab with the focus are the visits"
WITHOUT_PAGE = {
    "POST /v1/runs/{run}/pull-request": "it needs a remote and a branch of the user's own checkout",
    "POST /v1/runs/{run}/land/drop": "`done with it` drops a run",
    "POST /v1/runs/{run}/land/cancel": "Ctrl-C of the command that waits for the landing asks it",
    "POST /v1/sessions/{run}/checkpoints": "who goes back to a point does it in a terminal",
    "POST /v1/sessions/{run}/restore": "who goes back to a point does it in a terminal",
    "POST /v1/hooks/{schedule}": OF_A_PROGRAM,
    "POST /v1/hooks/trackers/{project}": OF_A_PROGRAM,
    "POST /v1/projects/{project}/webhook": OF_A_TERMINAL,
    "POST /v1/projects/mapping": OF_A_TERMINAL,
    "POST /v1/notify/test": OF_A_TERMINAL,
    "POST /v1/fleet/up": OF_A_TERMINAL,
    "POST /v1/fleet/down": "a console that ends its own coordinator could not say what became of it",
    "POST /v1/fleet/handover": "who is about to close the machine asks it there",
    "POST /v1/fleet/doctor": "its answer is a stream of steps, for a terminal",
    "POST /v1/nodes/probe": OF_A_TERMINAL,
    "POST /v1/nodes": OF_A_TERMINAL,
    "POST /v1/nodes/{node}/set": OF_A_TERMINAL,
    "POST /v1/nodes/{node}/login": OF_A_TERMINAL,
    "POST /v1/nodes/{node}/programs": OF_A_TERMINAL,
    "POST /v1/nodes/{node}/remove": OF_A_TERMINAL,
    "POST /v1/nodes/{node}/steps": OF_A_PROGRAM,
    "POST /v1/nodes/{node}/cleaned": OF_A_PROGRAM,
    "POST /v1/nodes/{node}/trust": OF_A_TERMINAL,
    "POST /v1/nodes/{node}/fault": OF_A_TERMINAL,
    "POST /v1/shutdown": "as fleet down",
    "POST /v1/models/test": "its answer is a stream of minutes, for a terminal",
    "POST /v1/queues/runs/{run}/remove": "stopping the run does it",
    "POST /v1/keys/rotate": OF_A_TERMINAL,
    "POST /v1/backups": OF_A_TERMINAL,
    "POST /v1/lanes/{lane}/remove": "the page of its workflow has Stop; an item is skipped there",
    "POST /v1/history/forget": "notes are of the repository in which a user stands",
    "POST /v1/plans/{workspace}/keep": "the talk is kept beside the plan, as the command writes it",
    "POST /v1/config/propose": "a model asks a user",
    "POST /v1/tokens": OF_A_TERMINAL,
    "POST /v1/tokens/{token}/revoke": OF_A_TERMINAL,
    "POST /v1/checkouts/{machine}/{name}": OF_A_PROGRAM,
    "POST /v1/checkouts/{machine}/{name}/files": OF_A_PROGRAM,
    "POST /v1/workspaces/{workspace}/open": OF_A_TERMINAL,
    "POST /v1/workspaces/{workspace}/leave": OF_A_TERMINAL,
    "POST /v1/web/codes": "the command that opens the console asks it",
}
BESIDE = (
    "top looks, and acts on a marked row by one key: what is made, set or named has its command, one `q` away"
)
_TOP_KEYS = "x drops a run; `pancode inbox review` has the other keys"
NOT_IN_TOP = {
    "POST /v1/runs/{run}/comments": "lines of a change are marked by commands and in the console",
    "POST /v1/comments/{comment}": "as the comments themselves",
    "POST /v1/runs/{run}/send-back": "as the comments themselves",
    **{act: why for act, why in WITHOUT_PAGE.items() if not act.endswith("/drop")},
    "POST /v1/pulls/{pull}": "as the command that opened it, its result is pushed from a checkout",
    "POST /v1/brief/looked": LOOKED,
    **dict.fromkeys(("POST /v1/needs/{need}/done", "POST /v1/needs/{need}/undo"), _TOP_KEYS),
    **dict.fromkeys(
        (
            "POST /v1/runs",
            "POST /v1/recover",
            "POST /v1/gc",
            "POST /v1/lanes",
            "POST /v1/lanes/{lane}/add",
            "POST /v1/explore",
            "POST /v1/runs/{run}/tools/{tool}/try",
            "POST /v1/runs/{run}/tools/{tool}/keep",
            "POST /v1/tools/{tool}/remove",
            "POST /v1/workflows",
            "POST /v1/schedules",
            "POST /v1/workspaces",
            "POST /v1/workspaces/{workspace}/repair",
            "POST /v1/workspaces/{workspace}/remove",
            "POST /v1/projects",
            "POST /v1/projects/{project}/remove",
            "POST /v1/presets/apply",
            "POST /v1/presets/unset",
            "POST /v1/config/set",
            "POST /v1/config/unset",
            *(f"POST /v1/lanes/{{lane}}/{word}" for word in ("pause", "resume", "skip")),
            "POST /v1/schedules/{schedule}/pause",
            "POST /v1/schedules/{schedule}/resume",
            "POST /v1/schedules/{schedule}/run",
            "POST /v1/schedules/{schedule}/remove",
            "POST /v1/breakers/reset",
            "POST /v1/held",
            "POST /v1/queues/pause",
            "POST /v1/queues/resume",
            "POST /v1/budget/ceiling",
            "POST /v1/budget/ceiling/unset",
            "POST /v1/budget/settle",
            "POST /v1/config/undo",
        ),
        BESIDE,
    ),
    **dict.fromkeys(
        (
            "POST /v1/sessions",
            "POST /v1/sessions/{run}/words",
            "POST /v1/sessions/{run}/turn",
            "POST /v1/sessions/{run}/terms",
            "POST /v1/sessions/{run}/end",
            "POST /v1/plans",
        ),
        "pancode chat and attach are the faces of a session in a terminal",
    ),
    "POST /v1/web/session": "a browser trades its code",
    "POST /v1/web/session/end": "a browser leaves; a user revokes the token",
}


def named(paths: Iterable[str], acts: Iterable[str]) -> set[str]:
    """The acts with one of these paths, where `{}` stands for a name."""
    known = set(paths)
    return {act for act in acts if re.sub(r"\{\w+\}", "{}", act.partition("/v1/")[2]) in known}


def of_web() -> set[str]:
    """Of `at("runs", run, "stop")`, `post("runs" ...)`, `path="fleet/drain"`, `path: "projects"` in all, and
    the acts of needs, which the inbox sends as the API names them."""
    acts = {f"runs/{{}}/{verb}" for _, verb in ACT_WORDS.values()} | {"needs/{}/done", "pulls/{}"}
    return acts | {path for file in WEB.glob("**/*.js") for path in _of_script(file)}


def _of_script(file: Path) -> Iterator[str]:
    text = file.read_text()
    yield from re.findall(r"""(?:\bpost\(|\bpath[=:] ?)"([\w/-]+)\"""", text)
    for words in re.findall(r"""\bat\(([^()]*)\)""", text):
        yield "/".join(part[1:-1] if part[:1] == '"' else "{}" for part in map(str.strip, words.split(",")))


def of_top() -> set[str]:
    """Of `path_of("runs", name, "stop")` and "/v1/fleet/drain" in what makes its acts."""
    found = set[str]()
    for node in ast.walk(ast.parse((TOP / "acts.py").read_text())):
        if isinstance(node, ast.Constant) and str(node.value).startswith("/v1/"):
            found.add(str(node.value).removeprefix("/v1/"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "path_of":
            parts = (str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.args)
            found.add("/".join(parts))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_post":
            found |= {f"runs/{{}}/{one.value!s}" for one in node.args[:1] if isinstance(one, ast.Constant)}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_of_need":
            names = [str(one.value) for one in node.args if isinstance(one, ast.Constant)]
            found |= {f"runs/{{}}/{ACT_WORDS[name][1]}" for name in names}
    return found
