r"""The scripted test runtime: carries out its task act by act, and reports it as JSON lines.

Started as `python3 -I -S program.py [--read-only] [--model M] [--max-usd X] [--prompt FILE]` in the
workspace, the task on standard input. Standard library only, so that it runs wherever Python does.

The task is one of
  prose      any other text: appends one line to NOTES.md (only reads with --read-only) and reports it
  lines      first line `#!scripted`, then one act per line, split like shell words, `#` for comments
  JSON       a list of acts, or {"acts": [...]}; an act is a list ["write", "a.txt", "hi\n"] or such a line

Acts that change the workspace (denied and reported under --read-only):
  write PATH TEXT · append PATH TEXT · replace PATH OLD NEW · delete PATH · mkdir PATH · link PATH TARGET
  commit MESSAGE (all changes) · git ARG... · delete-git · fill PATH [BYTES] (until the disk is full)
In TEXT, OLD and NEW of a line, `\n` and `\t` are a newline and a tab.

Acts that only report:
  say TEXT · answer TEXT (the final text) · answer-file PATH (the same, from a file)
  usage IN OUT [USD|unknown] [CACHED] (added up) · read PATH
  env (the variables' names) · prompt (its instructions) · tick N [SECONDS] (says `tick 1` to `tick N`)
  claim TOOL PATH (reports a tool call that did not happen)
  deny TOOL · raw TEXT (not JSON) · invalid (half an object) · stderr TEXT · flood BYTES [stderr] (lines of x)

Acts that wait, and acts on processes:
  sleep SECONDS · await PATH [SECONDS] (until that file exists) · hang (silent, forever) · ignore SIGNAL...
  fork SECONDS [PATH] (a grandchild in a separate session, which writes PATH at its end)
  fork-bare SECONDS [PATH] (the same with an empty environment) · kill [SIGNAL] (itself)

Acts that end the script:
  fail TEXT (error event, exit 1) · ask TEXT (needs a user, exit 1) · exit CODE (no terminal event)
  finish CODE (terminal success, then this status) · lie [TEXT] (claims a write and 1,000 tokens, success)
At the end of the script: terminal success, exit 0. A failed act ends the script as `fail` does, except
under `try ACT...`. `force ACT...` ignores --read-only. An unreadable script causes an error event and
exit 2.

Events, one JSON object a line: start {session, model} · say {text} · tool {name, action, detail, ok} · denied
{name, action, detail} · usage {input_tokens, cached_tokens, output_tokens, cost_usd: text or null}, all
totals · result {status: success, error, blocked or budget, text, turns}.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from decimal import Decimal, DecimalException

MARK = "#!scripted"


class BadScript(Exception):
    """The error when the task does not have the documented form."""


def parse_task(task: str) -> list[list[str]] | None:
    """Return the acts as lists of words; None for prose."""
    text = task.strip()
    if text.startswith(MARK):
        return [words for line in text.splitlines()[1:] if (words := split_act(line))]
    if not text.startswith(("[", "{")):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None  # prose may begin with a bracket
    acts = value.get("acts") if isinstance(value, dict) else value
    if not isinstance(acts, list):
        raise BadScript('the object has no list "acts"')
    return [parse_json_act(act) for act in acts]


def parse_json_act(act: object) -> list[str]:
    """Return one act of a JSON script as its words."""
    if isinstance(act, str):
        return split_act(act)
    if isinstance(act, list) and act:
        return [word if isinstance(word, str) else json.dumps(word) for word in act]
    raise BadScript(f"not an act: {act!r}")


def split_act(line: str) -> list[str]:
    """Return one act of a line script as its words."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as exc:
        raise BadScript(f"{exc}: {line}") from exc
    return [word.replace("\\n", "\n").replace("\\t", "\t") for word in words]


def script_prose(task: str, read_only: bool) -> list[list[str]]:
    """Return the script for a prose task: a small edit that depends only on the text."""
    words = " ".join(task.split())[:200] or "nothing to do"
    if read_only:
        return [["say", f"Looked at: {words}"], ["answer", f"Read the task: {words}"]]
    line = ["append", "NOTES.md", f"- {words}\n"]
    return [["say", "I note it in NOTES.md."], line, ["answer", f"Noted in NOTES.md: {words}"]]


BLOCK = b"x" * 99 + b"\n"


class End(Exception):
    """Raised to end the script, with its exit status and the final event to write, if any."""

    def __init__(self, code: int, status: str = "", text: str = "") -> None:
        super().__init__(text)
        self.code, self.status, self.text = code, status, text


class ScriptEvents:
    """Writes the events, each as one complete line."""

    def event(self, kind: str, **fields: object) -> None:
        self.line(json.dumps({"type": kind, **fields}, ensure_ascii=False))

    def line(self, text: str) -> None:
        self.send(1, text.encode("utf-8", "replace") + b"\n")

    def send(self, fd: int, data: bytes) -> None:
        while data:
            data = data[os.write(fd, data) :]


class ScriptUsage:
    """The totals that the script claims to have used."""

    def __init__(self) -> None:
        self.input = self.output = self.cached = 0
        self.usd: Decimal | None = Decimal(0)

    def add(self, given: list[str]) -> None:
        """Add the arguments of an act: IN OUT [USD|unknown] [CACHED]."""
        self.input += int(given[0])
        self.output += int(given[1])
        self.cached += int(given[3]) if len(given) > 3 else 0
        cost = given[2] if len(given) > 2 else "0"
        self.usd = None if cost == "unknown" or self.usd is None else self.usd + Decimal(cost)

    def fields(self) -> dict[str, object]:
        usd = None if self.usd is None else format(self.usd, "f")
        tokens = {"input_tokens": self.input, "cached_tokens": self.cached, "output_tokens": self.output}
        return {**tokens, "cost_usd": usd}


class ScriptFiles:
    """The acts that change files. The current folder is the workspace."""

    def write(self, path: str, text: str) -> None:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as f:
            f.write(text)

    def append(self, path: str, text: str) -> None:
        with open(path, "a", encoding="utf-8", newline="") as f:
            f.write(text)

    def replace(self, path: str, old: str, new: str) -> None:
        with open(path, encoding="utf-8", newline="") as f:
            text = f.read()
        if old not in text:
            raise ValueError(f"{path} does not contain {old!r}")
        self.write(path, text.replace(old, new, 1))

    def delete(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def mkdir(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def link(self, path: str, target: str) -> None:
        os.symlink(target, path)

    def delete_git(self) -> None:
        self.delete(".git")

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def git(self, *args: str) -> None:
        quiet = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        pid = os.posix_spawnp("git", ["git", *args], dict(os.environ), file_actions=[quiet])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            raise ValueError(f"git {args[0] if args else ''}: exit {code}")

    def fill(self, path: str, size: str = "") -> None:
        left = int(size) if size else sys.maxsize
        with open(path, "wb", buffering=0) as f:
            while left > 0:
                left -= f.write(bytes(min(left, 1 << 20)))


SHELL = "shell"
ACTIONS = {
    "delete": "file_delete",
    "delete-git": "file_delete",
    "commit": SHELL,
    "git": SHELL,
    "bash": SHELL,
    "read": "file_read",
}
ACTING = ("write", "append", "replace", "delete", "mkdir", "link", "delete-git", "commit", "git", "fill")
TELLING = (
    *(
        "say",
        "answer",
        "answer-file",
        "usage",
        "read",
        "env",
        "prompt",
        "tick",
        "claim",
        "deny",
        "raw",
        "invalid",
        "stderr",
        "flood",
    ),
    *("sleep", "await", "hang", "ignore", "fork", "fork-bare", "kill"),
    *("fail", "ask", "exit", "finish", "lie", "try", "force"),
)
Act = Callable[..., None]


class Double:
    """The scripted agent, which performs one script."""

    def __init__(self, voice: ScriptEvents, read_only: bool, max_usd: Decimal | None) -> None:
        self.voice, self.read_only, self.max_usd = voice, read_only, max_usd
        self.usage = ScriptUsage()
        self.answer: str | None = None
        self.done = 0
        files = ScriptFiles()
        self.acting = {name: getattr(files, name.replace("-", "_")) for name in ACTING}
        self.telling: dict[str, Act] = {n: getattr(self, "do_" + n.replace("-", "_")) for n in TELLING}

    def perform(self, acts: list[list[str]]) -> End:
        """Perform all acts, in order."""
        try:
            for act in acts:
                self.act(act[0], *act[1:])
                self.done += 1
        except End as end:
            return end
        except BadScript as exc:
            return End(2, "error", str(exc))
        except (OSError, ValueError, DecimalException) as exc:
            return End(1, "error", f"act {self.done + 1} failed: {exc}")
        return End(0, "success", f"Did {self.done} acts." if self.answer is None else self.answer)

    def act(self, verb: str, *args: str, forced: bool = False) -> None:
        if verb not in self.acting and verb not in self.telling:
            raise BadScript(f"unknown act {verb!r}")
        try:
            if verb in self.acting:
                self.change(verb, *args, forced=forced)
            else:
                self.telling[verb](*args)
        except (TypeError, IndexError) as exc:
            raise BadScript(f"act {verb!r} has the wrong number of arguments: {list(args)}") from exc

    def change(self, verb: str, *args: str, forced: bool) -> None:
        what = {"name": verb, "action": ACTIONS.get(verb, "file_write"), "detail": " ".join(args)[:200]}
        if self.read_only and not forced:
            return self.voice.event("denied", **what)
        ok = False
        try:
            self.acting[verb](*args)
            ok = True
        finally:
            self.voice.event("tool", **what, ok=ok)

    # ---- acts that only report
    def do_say(self, text: str) -> None:
        self.voice.event("say", text=text)

    def do_answer(self, text: str) -> None:
        self.answer = text

    def do_answer_file(self, path: str) -> None:
        with open(path, encoding="utf-8", errors="replace") as f:
            self.answer = f.read()

    def do_usage(self, *given: str) -> None:
        self.usage.add(list(given))
        self.voice.event("usage", **self.usage.fields())
        if self.max_usd is not None and (self.usage.usd or Decimal(0)) > self.max_usd:
            raise End(1, "budget", f"reached the maximum budget (${self.max_usd})")

    def do_read(self, path: str) -> None:
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read(1000)
        self.voice.event("tool", name="read", action="file_read", detail=path, ok=True)
        self.do_say(text)

    def do_env(self) -> None:
        self.do_say(" ".join(sorted(os.environ)))

    def do_prompt(self) -> None:
        path = read_option(sys.argv, "--prompt")
        if path is not None:
            with open(path, encoding="utf-8", errors="replace") as f:
                self.do_say(f.read())

    def do_tick(self, count: str, seconds: str = "0") -> None:
        for i in range(1, int(count) + 1):
            self.do_say(f"tick {i}")
            time.sleep(float(seconds))

    def do_claim(self, tool: str, path: str) -> None:
        self.voice.event("tool", name=tool, action=ACTIONS.get(tool, "file_write"), detail=path, ok=True)

    def do_deny(self, tool: str) -> None:
        self.voice.event("denied", name=tool, action=ACTIONS.get(tool, "file_write"), detail="")

    def do_raw(self, text: str) -> None:
        self.voice.line(text)

    def do_invalid(self) -> None:
        self.voice.line('{"type": "result", "status": "succ')

    def do_stderr(self, text: str) -> None:
        self.voice.send(2, text.encode("utf-8", "replace") + b"\n")

    def do_flood(self, size: str, where: str = "stdout") -> None:
        left, fd = int(size), 2 if where == "stderr" else 1
        while left > 0:
            block = BLOCK * 655 if left > 65500 else (BLOCK * 655)[: left - 1] + b"\n"
            self.voice.send(fd, block)
            left -= len(block)

    # ---- acts that wait, and acts on processes
    def do_sleep(self, seconds: str) -> None:
        time.sleep(float(seconds))

    def do_await(self, path: str, seconds: str = "60") -> None:
        for _ in range(int(float(seconds) * 20)):
            if os.path.exists(path):
                return
            time.sleep(0.05)
        raise ValueError(f"{path} did not appear within {seconds} s")

    def do_hang(self) -> None:
        while True:
            signal.pause()

    def do_ignore(self, *names: str) -> None:
        for name in names:
            signal.signal(signal_number(name), signal.SIG_IGN)

    def do_fork(self, seconds: str, path: str = "") -> None:
        leave_child(float(seconds), path, dict(os.environ))

    def do_fork_bare(self, seconds: str, path: str = "") -> None:
        leave_child(float(seconds), path, {})

    def do_kill(self, name: str = "SIGKILL") -> None:
        os.kill(os.getpid(), signal_number(name))

    # ---- acts that end the script, and those that contain another
    def do_fail(self, text: str) -> None:
        raise End(1, "error", text)

    def do_ask(self, text: str) -> None:
        raise End(1, "blocked", text)

    def do_exit(self, code: str) -> None:
        raise End(int(code))

    def do_finish(self, code: str) -> None:
        raise End(int(code), "success", "Finished." if self.answer is None else self.answer)

    def do_lie(self, text: str = "All changes are made and all tests pass.") -> None:
        self.do_claim("write", "everything.txt")
        self.do_usage("900", "100")
        raise End(0, "success", text)

    def do_try(self, verb: str, *args: str) -> None:
        try:
            self.act(verb, *args)
        except (OSError, ValueError) as exc:
            self.do_say(f"{verb}: {exc}")

    def do_force(self, verb: str, *args: str) -> None:
        self.act(verb, *args, forced=True)


def signal_number(name: str) -> signal.Signals:
    """Return the signal called TERM or SIGTERM."""
    full = name if name.startswith("SIG") else "SIG" + name
    if full not in signal.Signals.__members__:
        raise BadScript(f"unknown signal {name!r}")
    return signal.Signals[full]


def leave_child(seconds: float, path: str, env: dict[str, str]) -> None:
    """Start a grandchild in a separate session, and do not wait for it."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        then = 'sleep "$1"; if [ -n "$2" ]; then echo late > "$2"; fi'
        os.execve("/bin/sh", ["sh", "-c", then, "sh", str(seconds), path], {"PATH": "/usr/bin:/bin", **env})
    finally:
        os._exit(127)


def read_option(argv: list[str], name: str) -> str | None:
    """Return the argument after an option; None without the option."""
    return argv[argv.index(name) + 1] if name in argv else None


def main(argv: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the default: the signal ends the process without a message
    task = sys.stdin.buffer.read().decode("utf-8", "replace")
    limit, read_only = read_option(argv, "--max-usd"), "--read-only" in argv
    voice = ScriptEvents()
    session = "s-" + hashlib.sha256(task.encode()).hexdigest()[:12]
    voice.event("start", session=session, model=read_option(argv, "--model"))
    double = Double(voice, read_only, None if limit is None else Decimal(limit))
    try:
        acts = parse_task(task)
    except BadScript as exc:
        end = End(2, "error", str(exc))
    else:
        end = double.perform(script_prose(task, read_only) if acts is None else acts)
    if end.status:
        voice.event("result", status=end.status, text=end.text, turns=double.done)
    return end.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
