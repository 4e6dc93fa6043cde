"""The tree of commands: each name's help line and module; finds the command that typed names mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from pancode.interfaces.cli.words import INSTEAD, VERBS, WORDS
from pancode.kernel.errors import UsageError


class Command(NamedTuple):
    """A name of the tree. `line`: its help. `module`: loaded when the command is used; empty for a group."""

    line: str
    module: str = ""


_C = Command
LARGER: Mapping[str, str] = {"workflow": "pancode.workflows.commands.group"}
"""By kind of larger work: the module that has what other commands do with it, as `COMMANDS`."""
PAGES: Mapping[str, str] = {"session": "pancode.sessions.commands.chat"}
"""The module whose `open_page` opens a row of `pancode top`, by the kind of row."""
TREE: Mapping[str, Command] = {
    "init": _C("write the configuration files, with comments", "pancode.app.commands.setup"),
    "node": _C("your machines: add, ls, show, set, login, install, rm"),
    "node add": _C("add a machine by its SSH name", "pancode.fleet.commands.nodes"),
    "node ls": _C("every node: state, slots, agent programs, models", "pancode.fleet.commands.fleet"),
    "node show": _C("how it is reached and what it reports", "pancode.fleet.commands.nodes"),
    "node set": _C("change the slots and labels of a node", "pancode.fleet.commands.nodes"),
    "node rm": _C(
        "remove all PanCode files and processes from a node; verify", "pancode.fleet.commands.nodes"
    ),
    "node trust": _C("accept a host key that has changed", "pancode.fleet.commands.nodes"),
    "node install": _C("install or update an agent program on a node", "pancode.fleet.commands.nodes"),
    "node uninstall": _C("remove an agent program that `install` added", "pancode.fleet.commands.nodes"),
    "node login": _C("log in to an agent program, on this terminal", "pancode.fleet.commands.nodes"),
    "node secret": _C("store a secret on a node", "pancode.fleet.commands.nodes"),
    "fleet": _C("all nodes at once: up, down, drain, resume, drill"),
    "fleet up": _C("start the coordinator and the nodes", "pancode.fleet.commands.fleet"),
    "fleet down": _C("stop the nodes and the coordinator", "pancode.fleet.commands.fleet"),
    "fleet drain": _C(
        "start no new runs on some or all nodes; running ones continue", "pancode.fleet.commands.fleet"
    ),
    "fleet resume": _C("start new runs on these nodes again", "pancode.fleet.commands.fleet"),
    "fleet drill": _C("kill parts of your own fleet; see that it recovers", "pancode.drills.commands.drill"),
    "fleet demo": _C("try a whole fleet on this machine; leaves nothing", "pancode.app.commands.setup"),
    "dispatch": _C("give a task to a node and wait for the result", "pancode.runs.commands.dispatch"),
    "chat": _C(
        "talk with Panos or another agent; the same as plain `pancode`", "pancode.sessions.commands.chat"
    ),
    "runs": _C("recent runs: ls, show, retry, continue, comment, recover"),
    "runs ls": _C("recent runs, newest first; --waiting: the queue", "pancode.runs.commands.runs"),
    "runs show": _C("everything about one run", "pancode.runs.commands.runs"),
    "runs retry": _C("repeat the same work as a new run", "pancode.runs.commands.runs"),
    "runs continue": _C("continue from a result with a new message", "pancode.runs.commands.runs"),
    "runs comment": _C("comment on a line of a run's change", "pancode.reviews.commands"),
    "runs comments": _C("the comments on a change, and the answers", "pancode.reviews.commands"),
    "runs send-back": _C("send the comments to the agent: the next round", "pancode.reviews.commands"),
    "runs recover": _C("continue runs that failed or were interrupted", "pancode.runs.commands.health"),
    "logs": _C("what a run said and did; -f follows it", "pancode.runs.commands.logs"),
    "diff": _C("what a run changed", "pancode.runs.commands.runs"),
    "why": _C("every decision about a run, and what it waits for", "pancode.reports.commands.timeline"),
    "land": _C("bring a run's change into your files", "pancode.landing.commands.landing"),
    "inbox": _C("what needs you: questions, approvals, changes to review"),
    "inbox ls": _C("everything that waits for a user", "pancode.people.commands.inbox"),
    "inbox show": _C("one item in full, with its conversation", "pancode.people.commands.inbox"),
    "inbox review": _C("review results: view, land, send back, drop", "pancode.landing.commands.review"),
    "inbox drop": _C("remove failures and unwanted changes", "pancode.landing.commands.review"),
    "inbox pulls": _C("pull requests: failed checks, reviews; follow them", "pancode.pull_requests.commands"),
    "doctor": _C("what is wrong, here or on a node, with the fix", "pancode.app.commands.setup"),
    "status": _C("one screen: what needs you, runs, nodes, money", "pancode.reports.commands.status"),
    "top": _C("the fleet live in the terminal, with keys", "pancode.interfaces.tui.commands"),
    "web": _C("the fleet live in the browser", "pancode.interfaces.web.commands"),
    "stop": _C("stop a run, workflow or issue", "pancode.runs.commands.stop"),
    "tell": _C("send a message to the agent of a run or issue", "pancode.people.commands.inbox"),
    "approve": _C("approve what waits for you", "pancode.people.commands.inbox"),
    "deny": _C("deny what waits for you", "pancode.people.commands.inbox"),
    "answer": _C("answer the question of a run; it continues", "pancode.people.commands.inbox"),
    "receipt": _C("signed proof of what a run did: verify, show, export"),
    "receipt ls": _C("receipts of recent runs", "pancode.runs.commands.receipts"),
    "receipt show": _C("the contents of a receipt", "pancode.runs.commands.receipts"),
    "receipt verify": _C(
        "check a receipt: PASS, TAMPERED, ... with each check", "pancode.runs.commands.receipts"
    ),
    "receipt export": _C("write the receipt and its keys to files", "pancode.runs.commands.receipts"),
    "audit": _C("who did what, newest first; -f follows it", "pancode.reports.commands.timeline"),
    "history": _C("what earlier runs here decided and left open: find"),
    "history find": _C("search the notes of this repository", "pancode.memory.commands.history"),
    "history show": _C("the full note of a run", "pancode.memory.commands.history"),
    "history forget": _C("delete notes, but not runs or receipts", "pancode.memory.commands.history"),
    "workflow": _C("several runs as one: batch, chain, race, explore, resume"),
    "workflow batch": _C("many tasks at once", "pancode.workflows.commands.begin"),
    "workflow chain": _C("steps that build on each other", "pancode.workflows.commands.begin"),
    "workflow race": _C(
        "one task for several agents; the first to pass wins, or --score", "pancode.workflows.commands.begin"
    ),
    "workflow explore": _C("read-only agents answer up to 4 questions", "pancode.memory.commands.history"),
    "workflow ls": _C("recent workflows; --files: those you can start", "pancode.workflows.commands.group"),
    "workflow show": _C("one workflow with its steps", "pancode.workflows.commands.group"),
    "workflow resume": _C(
        "continue with steps that failed or were stopped", "pancode.workflows.commands.group"
    ),
    "workflow plan": _C("print a chain workflow made from a plan", "pancode.workflows.commands.group"),
    "issue": _C("issues of your tracker: ls, show, work, plan"),
    "issue ls": _C("issues in progress, then the other open issues", "pancode.issues.commands.issues"),
    "issue show": _C("one issue with its text", "pancode.issues.commands.issues"),
    "issue work": _C("start work on an issue", "pancode.issues.commands.issues"),
    "issue plan": _C("plan it first, in a chat; --keep writes the plan", "pancode.issues.commands.issues"),
    "workspace": _C("named, persistent checkouts: create, open, rm"),
    "workspace create": _C("create one", "pancode.workspaces.commands.workspaces"),
    "workspace ls": _C("all workspaces, last used first", "pancode.workspaces.commands.workspaces"),
    "workspace show": _C("its runs, and what has not landed", "pancode.workspaces.commands.workspaces"),
    "workspace open": _C(
        "open a workspace on its node; --leave closes it", "pancode.workspaces.commands.workspaces"
    ),
    "workspace repair": _C("repair it after it was moved or lost", "pancode.workspaces.commands.workspaces"),
    "workspace rm": _C(
        "remove a workspace; changes that have not landed stay", "pancode.workspaces.commands.workspaces"
    ),
    "lane": _C("tasks one after another: create, add, ls, skip"),
    "lane create": _C("create a lane, or change its options", "pancode.workflows.commands.lanes"),
    "lane add": _C("add a task, or a failed task again", "pancode.workflows.commands.lanes"),
    "lane ls": _C("all lanes", "pancode.workflows.commands.lanes"),
    "lane show": _C("one lane with its tasks in order", "pancode.workflows.commands.lanes"),
    "lane skip": _C("skip a task and continue", "pancode.workflows.commands.lanes"),
    "lane rm": _C("remove a task or the lane", "pancode.workflows.commands.lanes"),
    "schedule": _C("work at set times: add, ls, run, pause, rm"),
    "schedule add": _C("add one", "pancode.schedules.commands"),
    "schedule ls": _C("all schedules: next start, last result", "pancode.schedules.commands"),
    "schedule show": _C("one schedule with its next starts", "pancode.schedules.commands"),
    "schedule run": _C("start it now", "pancode.schedules.commands"),
    "schedule pause": _C("pause it", "pancode.schedules.commands"),
    "schedule resume": _C("resume the starts of a paused schedule", "pancode.schedules.commands"),
    "schedule rm": _C("remove it", "pancode.schedules.commands"),
    "sessions": _C("conversations: ls, attach, set, checkpoint, export, end"),
    "sessions ls": _C("recent sessions, and open terminals", "pancode.sessions.commands.sessions"),
    "sessions show": _C("one session; options --context, --tasks", "pancode.sessions.commands.sessions"),
    "sessions attach": _C("come back to a session or a run", "pancode.sessions.commands.chat"),
    "sessions set": _C(
        "change the mode, safety level, model or effort of a session", "pancode.sessions.commands.sessions"
    ),
    "sessions rest": _C("suspend it; its slot is free", "pancode.sessions.commands.sessions"),
    "sessions end": _C("end a session; its changes are kept", "pancode.sessions.commands.sessions"),
    "sessions export": _C("the conversation as Markdown or JSON", "pancode.sessions.commands.sessions"),
    "sessions checkpoint": _C(
        "name this point of the session; without a name: list", "pancode.sessions.commands.sessions"
    ),
    "sessions restore": _C("go back to a named point of the session", "pancode.sessions.commands.sessions"),
    "sessions acp": _C("serve sessions to an editor (ACP)", "pancode.interfaces.acp.commands"),
    "up": _C("open this project's terminal (tmux)", "pancode.sessions.commands.tmux"),
    "down": _C("close this project's terminal, not the fleet", "pancode.sessions.commands.tmux"),
    "mcp": _C("the fleet as tools for Claude Code, Codex and others"),
    "mcp serve": _C("serve the tools on standard input and output", "pancode.interfaces.mcp.commands"),
    "mcp install": _C("register the server in another program", "pancode.interfaces.mcp.commands"),
    "mcp uninstall": _C("unregister the server in another program", "pancode.interfaces.mcp.commands"),
    "agents": _C("your agents: ls, show, prompt, record, runtimes, set"),
    "agents ls": _C("agent definitions", "pancode.agents.commands.agents"),
    "agents show": _C("one definition", "pancode.agents.commands.agents"),
    "agents prompt": _C("the prompt of an agent or run, part by part", "pancode.agents.commands.agents"),
    "agents record": _C(
        "what each agent is doing, and its results so far", "pancode.budget.commands.agent_records"
    ),
    "agents runtimes": _C("agent programs, and the nodes that have them", "pancode.agents.commands.choices"),
    "agents new": _C("add an agent as a copy of another", "pancode.agents.commands.agents"),
    "agents set": _C("change one setting of an agent", "pancode.agents.commands.agents"),
    "models": _C("models on your nodes and at vendors: ls, test"),
    "models ls": _C("models; --servers: the servers that run them", "pancode.agents.commands.models"),
    "models test": _C("test a model on a node before its first run", "pancode.agents.commands.models"),
    "skills": _C("instructions for agents (SKILL.md): ls, add, sync"),
    "skills ls": _C(
        "all skills; --status: copies; --search: published skills", "pancode.skills.commands.skills"
    ),
    "skills show": _C("one skill", "pancode.skills.commands.skills"),
    "skills add": _C("add a skill from a folder or a commit", "pancode.skills.commands.skills"),
    "skills rm": _C("remove one and its copies", "pancode.skills.commands.skills"),
    "skills agree": _C("allow a skill that runs commands or permits tools", "pancode.skills.commands.skills"),
    "skills sync": _C("copy skills to where agent programs look", "pancode.skills.commands.skills"),
    "policy": _C("modes, safety levels, your rules: show, check"),
    "policy show": _C("all rules that apply here, or one", "pancode.agents.commands.choices"),
    "policy check": _C("check whether a run may do an action", "pancode.agents.commands.choices"),
    "budget": _C("limits and costs: show, spent, set, settle"),
    "budget show": _C("each limit: amount spent, reserved and left", "pancode.budget.commands.budget"),
    "budget spent": _C("costs by run, agent, node, day ...", "pancode.budget.commands.cost"),
    "budget set": _C("change a limit; `none` removes it", "pancode.budget.commands.budget"),
    "budget settle": _C("enter the cost of a run whose cost is unknown", "pancode.budget.commands.budget"),
    "config": _C("settings and their origin: show, set, undo, check, use"),
    "config show": _C("every setting and where it was set", "pancode.config.commands"),
    "config set": _C("set a value for the whole fleet", "pancode.config.commands"),
    "config unset": _C("remove a set value; values from files apply again", "pancode.config.commands"),
    "config undo": _C("undo the last change of a setting", "pancode.config.commands"),
    "config check": _C("check a file: agents, rules, workflow, skill", "pancode.app.commands.setup"),
    "config preset": _C("all presets, or one", "pancode.config.commands"),
    "config use": _C("apply a preset; `none` removes it", "pancode.config.commands"),
    "config secret": _C("store a secret for notices and trackers", "pancode.notices.commands"),
    "project": _C("repositories with a name: add, ls, show, rm, tools"),
    "project add": _C("add a named repository, or change one", "pancode.workspaces.commands.projects"),
    "project ls": _C("all projects", "pancode.workspaces.commands.projects"),
    "project show": _C("one project", "pancode.workspaces.commands.projects"),
    "project rm": _C(
        "remove the name of a repository; its files stay", "pancode.workspaces.commands.projects"
    ),
    "project copy": _C(
        "the ignored files that runs get; agree to them", "pancode.workspaces.commands.projects"
    ),
    "project prd": _C("draft the requirements document of a project", "pancode.workspaces.commands.projects"),
    "project webhook": _C(
        "let the tracker report changes to PanCode", "pancode.workspaces.commands.projects"
    ),
    "project tools": _C("tools that agents made: ls, show, try, keep, rm"),
    "project tools ls": _C("tools that agents made", "pancode.skills.commands.tools"),
    "project tools show": _C("one tool in full, with its tests", "pancode.skills.commands.tools"),
    "project tools try": _C("run the tests of a tool", "pancode.skills.commands.tools"),
    "project tools keep": _C("keep a tool for later runs", "pancode.skills.commands.tools"),
    "project tools rm": _C("revoke it", "pancode.skills.commands.tools"),
    "admin": _C("service, keys, tokens, notices, disk space, ledger"),
    "admin serve": _C("run the coordinator in the foreground", "pancode.app.commands.serve"),
    "admin service": _C(
        "the coordinator's systemd unit: print, --install, --remove", "pancode.app.commands.serve"
    ),
    "admin gc": _C("free disk space of old runs", "pancode.runs.commands.queue"),
    "admin keys": _C("signing keys; --rotate", "pancode.fleet.commands.keys"),
    "admin tokens": _C("API tokens; --create, --revoke", "pancode.interfaces.http.access.commands"),
    "admin breakers": _C("what is paused after failures; --reset", "pancode.fleet.commands.breakers"),
    "admin notify": _C("channels of notices; --test", "pancode.notices.commands"),
    "admin queue": _C("what is in Redis, as RQ sees it", "pancode.runs.commands.queue"),
    "admin ledger": _C("move the ledger to another database", "pancode.store.commands"),
    "admin backup": _C("sealed copies of this fleet on your nodes; --list", "pancode.backups.commands.copy"),
    "admin restore": _C("restore a fleet from a copy on a node", "pancode.backups.commands.restore"),
    "admin redis": _C("print the ACL file for your own Redis", "pancode.queue.commands"),
    "admin handover": _C(
        "let nodes start waiting runs while this machine is off", "pancode.fleet.commands.fleet"
    ),
    "admin completion": _C("print the completion script of a shell", "pancode.interfaces.cli.help"),
    "admin steps": _C("for programs: the steps of `fleet up`", "pancode.fleet.commands.steps"),
    "admin api-stdio": _C("for programs: the API over an SSH connection", "pancode.app.commands.serve"),
}
HIDDEN = {"help": _C("help on a command, words, or exit-codes", "pancode.interfaces.cli.help")}
"""Commands of the root that no list shows and no count includes."""
SCREEN: Mapping[str, Mapping[str, str]] = {
    "Start here": dict.fromkeys(
        "init node fleet dispatch chat runs logs diff why land inbox doctor".split(), ""
    ),
    "Watch and decide": {
        "status": "",
        "top, web": "the same, live: in the terminal or in the browser",
        "stop, tell": "stop a run, workflow or issue; send its agent a message",
        "approve, deny, answer": "decide what waits for you",
        **dict.fromkeys(("receipt", "audit", "history"), ""),
    },
    "Larger work": dict.fromkeys("workflow issue workspace lane schedule".split(), ""),
    "Talk": {
        "sessions": "",
        "up, down": "open or close this project's terminal (tmux), not the fleet",
        "mcp": "",
    },
    "Agents, rules and money": dict.fromkeys("agents models skills policy budget".split(), ""),
    "Settings and upkeep": dict.fromkeys("config project admin".split(), ""),
}
"""The first screen: each heading with its names, and a shared help line for several names."""
_DEFAULTS = {"history": "find", "mcp": "serve"}
_LISTS = ("ls", "show")


@cache
def list_children(path: str) -> Mapping[str, Command]:
    """Return a group's commands by the last part of their names; for an empty path, the root's commands."""
    return {name.rpartition(" ")[2]: one for name, one in TREE.items() if name.rpartition(" ")[0] == path}


def default_of(path: str) -> str | None:
    """Return the command that the group's name alone runs; None if it shows the group's help instead."""
    verbs = list_children(path)
    named = _DEFAULTS.get(path)
    return named or (None if path == "admin" else next((one for one in _LISTS if one in verbs), None))


def rewrite(words: Sequence[str], *, completes: bool = False) -> list[str]:
    """Replace other names by names of the tree. Raises UsageError for a word that no command means alone.
    `completes`: whether the line is for a shell's completion, where a group alone stays a group."""
    args = list(words)
    for count in (4, 3, 2, 1):
        key = " ".join(args[:count])
        if key in INSTEAD and not completes:
            what = f"command not found: pancode {key}"
            raise UsageError(what, fix=f"use: {INSTEAD[key]}", code="no_such_command")
        takes_more = len(args) > count and not args[count].startswith("-")
        meant = (WORDS.get(f"{key} ...") if takes_more else None) or WORDS.get(key)
        if meant is not None:
            args = [*meant.split(), *args[count:]]
            break
    return name_verbs(args, completes=completes)


def name_verbs(args: list[str], *, completes: bool) -> list[str]:
    """Replace groups and verbs by their names in the tree, and add the default verb to a group alone."""
    path = ""
    for at, word in enumerate(args):
        verbs = list_children(path)
        word = args[at] = word if word in verbs or path else find_noun(word)
        if word not in verbs:
            word = args[at] = next((one for one in VERBS.get(word, ()) if one in verbs), word)
        if word not in verbs:
            break
        path = f"{path} {word}".strip()
        if verbs[word].module:
            return args
    begun = len(path.split())
    default, rest = default_of(path) if path else None, args[begun:]
    first = rest[0] if rest else ""
    means = not first or first.isdigit() or (first.startswith("-") and first not in ("-h", "--help"))
    means = means or (path in _FREE and not first.startswith("-"))
    return [*args[:begun], default, *rest] if default and means and not completes else args


_FREE = ("history",)
"""Groups in which a word that is not a command is an argument of the default command."""


def find_noun(word: str) -> str:
    """Return the group of which this word is the singular or plural."""
    groups = list_children("")
    one = word[:-1] if word.endswith("s") else ""
    forms = (f"{word}s", one, f"{word[:-3]}y" if word.endswith("ies") else "")
    return next((one for one in forms if one in groups and not groups[one].module), word)


def find_near(name: str, path: str) -> list[str]:
    """Return at most three full names of commands that an unknown name in the group may mean."""
    anywhere = [meant for word, meant in WORDS.items() if word.rpartition(" ")[2] == name]
    last = {one: one.rpartition(" ")[2] for one in TREE if " " in one}
    verb = next((verb for verb in (name, *VERBS.get(name, ())) if verb in last.values()), name)
    anywhere += [one for one in last if last[one] == verb]
    if anywhere and not path:
        return list(dict.fromkeys(anywhere))[:3]
    close = [f"{path} {one}".strip() for one in find_close(name, list_children(path))]
    if not close and not path:
        others = find_close(name, [one for one in WORDS if " " not in one])
        close = [" ".join(rewrite([one])) for one in others]
    return list(dict.fromkeys(close))[:3]


def find_close(typed: str, names: Iterable[str]) -> list[str]:
    """Return at most three similar names; a name of up to five letters must begin with the same letter."""
    from difflib import get_close_matches

    same = [one for one in names if len(one) > 5 or one[:1] == typed[:1]]
    return get_close_matches(typed, same, n=3, cutoff=0.75)


def find_command_like(task: str) -> str | None:
    """Return the command that a task of one word resembles; None if it resembles no command."""
    if any(char.isspace() for char in task):
        return None
    if task in INSTEAD:
        return INSTEAD[task]
    verbs = {one.rpartition(" ")[2] for one in (*TREE, *WORDS, *VERBS) if not one.endswith("...")}
    if task not in verbs:
        return None
    if task in {*list_children(""), *WORDS}:
        return f"pancode {' '.join(rewrite([task]))}"
    runs = [f"runs {one}" for one in (task, *VERBS.get(task, ())) if one in list_children("runs")]
    return f"pancode {[*runs, *find_near(task, ''), 'help'][0]}"


def format_first_screen() -> str:
    """Return the help of `pancode`: 50 lines, 79 columns."""
    lines = ["Usage: pancode [-C DIR] COMMAND ..."]
    for heading, rows in SCREEN.items():
        lines += ["", f"{heading}:"]
        known = ((names, line or TREE[names].line) for names, line in rows.items() if line or names in TREE)
        lines += [f"  {names:<10}  {line}" for names, line in known]
    end = "Plain `pancode` talks with Panos. Options: COMMAND -h. Other names: help words."
    return "\n".join([*lines, "", end, ""])
