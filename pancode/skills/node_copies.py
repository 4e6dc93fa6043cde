"""Manages skill copies on a node: sends program and request to the node's Python and reads the answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pancode.fleet.place import Reach
from pancode.fleet.ssh.errors import RemoteFailed
from pancode.fleet.ssh.remote import Remote
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.records import Node
from pancode.skills import copies
from pancode.skills.copy_requests import SkillsAsked

ACT_S = 120.0
NO_PYTHON = 75
RUN = """\
python=; pid=$(cat "$1/run/agent.pid" 2>/dev/null) \\
  && tr '\\0' '\\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -q '/start\\.py$' \\
  && python=$(readlink "/proc/$pid/exe")
[ -x "$python" ] || python=
for q in python3 python3.14 python3.13 python3.12 python3.11 \\
  "$HOME"/.pyenv/versions/3.1[1-9]*/bin/python3 \\
  "$HOME"/.local/share/uv/python/cpython-3.1[1-9]*/bin/python3 /opt/python*/bin/python3; do
  [ -n "$python" ] && break
  p=$(command -v $q) \\
    && "$p" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$p
done
[ -n "$python" ] || exit 75
exec "$python" -I -S -c "$2"
"""
"""$1 node home, $2 LOAD. Runs LOAD with the node agent's Python, or with another one while it is not
running."""
LOAD = 'import sys;r=sys.stdin.buffer;exec(compile(r.read(int(r.readline())),"skills","exec"))'
"""Reads a line with the program's length, the program, and its request; writes no file on the node."""


def program_and(request: dict[str, Any]) -> bytes:
    """Return the standard input for the node's Python: the program and this request."""
    program = Path(copies.__file__).read_bytes()
    return b"%d\n" % len(program) + program + json.dumps(request).encode()


def answer_of(node: str, status: int | None, stdout: bytes, stderr: bytes) -> dict[str, Any]:
    """Return the answer. UnavailableError if the node has no Python, RemoteFailed if the program failed."""
    if status == NO_PYTHON:
        raise UnavailableError(f"Python not found on node {node}", fix=f"pancode fleet up {node}")
    output = stderr.decode("utf-8", "replace").strip()[-400:] or f"exit {status}"
    try:
        answer: dict[str, Any] = json.loads(stdout)
        output = str(answer.get("error", output))
    except (ValueError, AttributeError):
        answer = {}
    # A node may send anything, so check that the answer is `need` or rows of strings.
    rows, need = answer.get("rows", []), answer.get("need", [])
    is_sound = (
        ("rows" in answer or "need" in answer)
        and isinstance(rows, list)
        and all(
            isinstance(row, dict) and {"folder", "skill"} < set(row) and {"state", "time"} & set(row)
            for row in rows
        )
        and all(isinstance(word, str) for row in rows for key, word in row.items() if key != "files")
        and all(isinstance(row.get("files", {}), dict) for row in rows)
        and isinstance(need, list)
        and all(isinstance(digest, str) for digest in need)
    )
    if not is_sound:
        fix = f"check on node {node}: ls -la ~/.pancode-skills"
        raise RemoteFailed(
            f"cannot manage the copies of skills on node {node}", status=status, why=output, fix=fix
        )
    return answer


async def exchange_copies(request: Callable[[list[str]], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Send the request, and send it again with the bytes that the node needs; return the rows and the kept
    backups. Nothing else that a node sends is passed on."""
    answer = await request([])
    answer = await request(answer["need"]) if "need" in answer else answer
    left = {"left": [str(one) for one in answer["left"]]} if isinstance(answer.get("left"), list) else {}
    return {"rows": answer.get("rows", []), **left}


def argv_in(home: str) -> tuple[str, ...]:
    """Return the command's argument list for a node with this home."""
    return ("sh", "-c", RUN, "pancode", home, LOAD)


async def act_on(remote: Remote, node: str, home: str, request: SkillsAsked) -> dict[str, Any]:
    """Act on the node in one round trip, two if it needs bytes. Idempotent. SshError, UnavailableError."""

    async def ask(need: list[str]) -> dict[str, Any]:
        sent = program_and(request.request(need))
        done = await remote.run(argv_in(home), ACT_S, stdin=sent)
        return answer_of(node, done.status, done.stdout, done.stderr)

    return await exchange_copies(ask)


async def remove_copies(fleet: str, remote: Remote, node: Node) -> tuple[str, ...]:
    """Remove the fleet's copies of skills from a node that leaves the fleet; return the copies that remain,
    or the error. A copy that a user changed belongs to the user and is kept."""
    if (await remote.run(("test", "-d", copies.STATE), ACT_S)).status != 0:
        return ()
    request = SkillsAsked("remove", owner=fleet)
    try:
        answer = await act_on(remote, node.name, Reach.of(node).installed_home or "", request)
    except PancodeError as error:
        return (f"copies of skills ({error.words})",)
    return tuple(f"{one['folder']}/{one['skill']}" for one in answer["rows"] if one["state"] == "failed")
