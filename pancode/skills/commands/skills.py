"""`pancode skills`: list skills, check them, and copy them for agent programs."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from node_agent.wire.clock import SystemClock
from pancode.fleet.answers import FLEET, NODE
from pancode.git.repository import find_top
from pancode.interfaces.cli.output import Face, folder_here, in_words
from pancode.interfaces.cli.parameters import Argument, Json, many, option, verb
from pancode.interfaces.cli.terminal import Columns, escape_line, escape_lines, format_rows, safe_block
from pancode.interfaces.client.client import home_here, home_of
from pancode.kernel.errors import ExitCode, NotFoundError, Problem, UsageError
from pancode.kernel.formatting import clip_columns, count_noun, reveal_invisible
from pancode.skills.copies import STATE
from pancode.skills.copy_requests import LEFT, TOOLS, SkillsAsked, count_copies
from pancode.skills.definitions import read_definitions
from pancode.skills.index import FILE, find_matching, read_index
from pancode.skills.library import KeptSkills, skills_below
from pancode.skills.local_service import act_here, fetch_folder, find_newest_commit, is_address
from pancode.skills.model import Skill
from pancode.skills.sources import HOME, FoundSkill, SkillSource, find_skill, list_sources, skills_of

HERE = "this machine"
Names = Annotated[list[str], Argument(metavar="[SKILL]...", default_factory=list, show_default=False)]
_TOOLS = f"Only for this agent program; may be repeated: {', '.join(TOOLS)}."
Tools = Annotated[list[str], many(_TOOLS, "--tool", "PROGRAM")]
Nodes = Annotated[list[str], many("On this node; may be repeated.", "--node", "NODE")]
Fleet = Annotated[bool, option("On this computer and on all nodes of the fleet.")]
Force = Annotated[bool, option("Overwrite copies that are not ours or were changed, after a backup.")]


Yes = Annotated[bool, option("Also what permits or runs something, without asking.", "--yes")]


def _find_seen(*, with_project: bool) -> list[FoundSkill]:
    home, here = home_here(os.environ), folder_here()
    project = find_top(here) if with_project else None
    return skills_of(list_sources(home, Path(project) if project else None))


def _find_definitions() -> list[FoundSkill]:
    """Return the slash commands and agent definitions in PANCODE_HOME."""
    home = home_here(os.environ)
    return [FoundSkill(one, SkillSource(HOME, home)) for one in read_definitions(home)]


def _find_all() -> list[FoundSkill]:
    return [*_find_seen(with_project=True), *_find_definitions()]


@verb("skills ls", "pancode skills", "--status --fleet", "--search deploy --index https://HOST/REPO.git")
def ls(
    names: Annotated[list[str], Argument(metavar="[WORD]...", default_factory=list, show_default=False)],
    tools: Tools,
    nodes: Nodes,
    *,
    status: Annotated[
        bool, option("Show how each node's and program's copies differ from these skills.")
    ] = False,
    fleet: Fleet = False,
    search: Annotated[bool, option("Search an index of skills that others offer.")] = False,
    index: Annotated[
        str | None, option("Git address of an index (default: the setting skills.index).", "ADDRESS")
    ] = None,
    commit: Annotated[
        str | None,
        option("The full commit hash at the index's address (default: the newest commit).", "COMMIT"),
    ] = None,
    path: Annotated[str, option("The path of the index file in that repository.", "FILE")] = FILE,
    face: Json,
) -> int:
    """List the skills available here: the purpose of each, its origin, and what it overrides.

    A project's skill (.pancode/skills, .agents/skills, .claude/skills) overrides one of your home
    (PANCODE_HOME/skills), which overrides one that PanCode ships.

    With --search: an index, a YAML or JSON file at a git address, skills: [{name, description, from, commit,
    path}]. Each WORD must begin a word of the name or description. No skill is added: each row has the
    command that adds it from a fixed commit, which you check first. The texts are the index owner's.
    """
    if status:
        return show_copies(face, names, tools, nodes, fleet)
    if tools or nodes:
        raise UsageError("--tool and --node require --status", fix="add --status")
    face.acts_here("skills")
    if search:
        search_index(face, names, index, commit, path)
        return ExitCode.DONE
    origins, rows = KeptSkills(home_here(os.environ)).origins(), []
    for one in _find_all():
        if not names or one.skill.name in names:
            origin = origins.get(one.skill.name) if one.source.origin == "home" else None
            rows.append({**one.shape(), "from": origin})
    return face.end(ExitCode.DONE, {"skills": rows}, lambda: format_rows(rows, _COLUMNS, "no skill"))


def search_index(face: Face, words: list[str], index: str | None, commit: str | None, path: str) -> None:
    where = index
    if not where:
        from pancode.config.user_environment import FileSurroundings  # this import loads the schema

        where = FileSurroundings(home_here(os.environ), os.environ).loaded().settings.skills.index
    if not where:
        fix = "pancode skills ls --search --index ADDRESS, or: pancode config set skills.index ADDRESS"
        raise UsageError("no skill index was given", fix=fix, code="no_index")
    at = commit or find_newest_commit(where)
    with fetch_folder(where, at, path) as file:
        if not file.is_file():
            fix = "give the path of the index: --path FILE"
            raise NotFoundError(f"file {path} not found in {where} at {at[:12]}", fix=fix, code="no_index")
        found, wrong = read_index(file.read_text("utf-8", "replace"), f"{path} of {where}")
    if wrong:
        face.note(f"warning: {count_noun(wrong, 'part')} of the index left out: not a valid skill entry")
    rows = [one.shape() for one in find_matching(found, " ".join(words))]
    text = ""
    for row in rows:
        text += escape_lines((f"{row['name']}: {row['description']}", f"  {shlex.join(row['add'])}"))
    face.show({"index": where, "commit": at, "skills": rows}, lambda: text or "no skill matches\n")


def show_copies(face: Face, names: list[str], tools: list[str], nodes: list[str], fleet: bool) -> int:
    files = tuple(one.skill for one in _find_definitions())
    seen = tuple(_find_seen(with_project=False))
    request = SkillsAsked("status", tuple(tools), tuple(names), found=seen, files=files)
    machines = _send_request(face, request, nodes, fleet)
    rows = [{**one, "tools": count_copies(one["rows"], tools)} for one in machines]
    columns: Columns = {"NODE": "node", **{tool: _make_cell(tool) for tool in tools or TOOLS}}
    words = format_rows([one for one in rows if "problem" not in one], columns)
    words += "".join([*_format_drifts(_list_rows(machines)), *_format_problems(machines)])
    return face.end(_end(machines), {"nodes": rows}, lambda: words)


def _format_state(row: dict[str, Any]) -> str:
    levels = [finding["level"] for finding in row["findings"]]
    powers = {finding["code"] for finding in row["findings"]}.intersection(_POWERS)
    words = ["error" if "error" in levels else "warning" if len(levels) > len(powers) else ""]
    return ", ".join(filter(None, (*words, *(_POWERS[one] for one in sorted(powers))))) or "ok"


_POWERS = {"gives_tools": "permits tools", "runs": "runs commands"}
_COLUMNS: Columns = {
    **{"SKILL": "name", "ORIGIN": "origin"},
    "IN PLACE OF": lambda row: ", ".join(one["origin"] for one in row["shadows"]),
    **{"STATE": _format_state, "WHAT FOR": lambda row: clip_columns(escape_line(row["description"]), 100)},
}


def _ask_consent(face: Face, kept: KeptSkills, found: Iterable[Skill], what: str, approved: bool) -> None:
    """Ask once about skills that permit or run things. UsageError if the user declines or cannot answer."""
    new = kept.not_agreed(found)
    for one in new:
        for power in one.powers:
            face.note(f"{one.name}: {escape_line(power.what)}")
    names = ", ".join(one.name for one in new)
    if new and not approved and not face.confirm(f"{what} {names} anyway?", "--yes"):
        fix = f"pancode skills show {new[0].name}"
        raise UsageError(f"nothing was done: you declined {names}", fix=fix, code="not_agreed")
    kept.agree(new)


@verb("skills agree", "deploy")
def agree(names: Annotated[list[str], Argument(metavar="SKILL...")], *, yes: Yes = False, face: Json) -> None:
    """Approve skills that grant permissions or run commands, so that runs of their project get them.

    The approval is permanent for exactly these bytes: `add` and `sync` do not ask about them again.
    """
    face.acts_here("skills")
    seen = _find_all()
    found = [find_skill(seen, name).skill for name in names]
    _ask_consent(face, KeptSkills(home_here(os.environ)), found, "Approve", yes)
    rows = [{"name": one.name, "digest": one.digest} for one in found]
    face.show({"skills": rows}, lambda: "".join(f"{row['name']}: agreed\n" for row in rows))


@verb("skills show", "code-review")
def show(name: Annotated[str, Argument()], face: Json) -> None:
    """Show a skill's text, origin, files and problems."""
    face.acts_here("skills")
    found = find_skill(_find_all(), name)
    skill = found.skill
    answer = {**found.shape(), "front": skill.front, "body": skill.body}
    head = [f"{skill.name}: {escape_line(skill.description)}", f"from: {found.folder}"]
    head += [f"overrides: {one.folder}" for one in found.shadows]
    head += [f"scripts: {escape_line(', '.join(skill.scripts))}"] if skill.scripts else []
    head += _format_findings(skill)
    text = f"---\n{skill.front}---\n{skill.body}"
    face.show(answer, lambda: "\n".join([*head, "", safe_block(reveal_invisible(text))]))


def _format_findings(skill: Skill) -> list[str]:
    return [f"{'error' if f.error else 'warning'}: {escape_line(f.what)}" for f in skill.findings]


def check_skills(face: Face, which: Sequence[str]) -> int:
    """Check that skills follow the open specification and hide nothing; if `which` is empty, check all."""
    face.acts_here("skills")
    seen = _find_seen(with_project=True) if not which or not all("/" in one for one in which) else []
    found = [] if which else [one.skill for one in seen]
    for word in which:
        is_folder = "/" in word or word == "."
        found += skills_below(Path(word).absolute()) if is_folder else [find_skill(seen, word).skill]
    rows = [{"name": s.name, "findings": [f.shape() for f in s.findings]} for s in found]
    bad = sum(not skill.is_sound for skill in found)
    lines = [f"{escape_line(s.name)}: {line}\n" for s in found for line in _format_findings(s)]
    lines.append(f"{count_noun(len(found), 'skill')} checked, {bad} with errors\n")
    return face.end(ExitCode.CONFIG if bad else ExitCode.DONE, {"skills": rows}, lambda: "".join(lines))


@verb("skills add", "./deploy", "https://HOST/REPO.git --commit COMMIT")
def add(
    where: Annotated[str, Argument(metavar="FOLDER|ADDRESS")],
    *,
    commit: Annotated[str | None, option("The full hash of a commit at a git address.", "COMMIT")] = None,
    path: Annotated[str, option("The skill's directory in that commit.", "FOLDER")] = "",
    force: Annotated[bool, option("Replace the skill with the same name in your home.")] = False,
    yes: Yes = False,
    face: Json,
) -> None:
    """Add a skill to your home: from a directory, or from one commit of a git address.

    From a directory of several skills, all are added. Nothing is run, and links are not followed. You must
    approve a skill that lets an agent use tools without approval, or that has commands that programs run.
    """
    face.acts_here("skills")
    kept = KeptSkills(home_here(os.environ))
    rows: list[dict[str, Any]] = []

    def keep(found: list[Skill], origin: dict[str, str]) -> None:
        _ask_consent(face, kept, found, "Add", yes)
        for one in found:
            added = kept.add(one, origin, force=force)
            rows.append({"name": one.name, "added": added, "scripts": one.scripts})

    if commit is not None or is_address(where):
        if not re.fullmatch(r"[^/].*|", path) or ".." in path.split("/"):
            fix = "give the path as git shows it"
            raise UsageError(f"--path {path} is not a directory in the commit", fix=fix)
        with fetch_folder(where, commit, path.rstrip("/")) as folder:
            try:
                found = skills_below(folder, Path(path or where.removesuffix(".git")).name)
            except NotFoundError as exc:
                what = f"the commit has no SKILL.md in {path or 'the top directory'}"
                fix = "check the commit, and name the directory of the skill: --path FOLDER"
                raise NotFoundError(what, fix=fix) from exc
            keep(found, {"from": where, "commit": str(commit)})
    else:
        origin = str(Path(where).absolute())
        keep(skills_below(Path(origin)), {"from": origin})
    text = ""
    for row in rows:
        scripts = f"; read its scripts before you use it: {escape_line(', '.join(row['scripts']))}"
        text += f"{row['name']}: {'added' if row['added'] else 'is there already'}"
        text += f"{scripts if row['scripts'] else ''}\n"
    face.show({"skills": rows}, lambda: f"{text}next: pancode skills sync\n")


@verb("skills sync", "", "release --tool claude")
def sync(
    names: Names,
    tools: Tools,
    nodes: Nodes,
    *,
    fleet: Fleet = False,
    force: Force = False,
    yes: Yes = False,
    face: Json,
) -> int:
    """Copy your home's and PanCode's skills to where agent programs look for them, and also your home's slash
    commands and agents (PANCODE_HOME/commands, PANCODE_HOME/agents).

    Copies that PanCode made are updated. Files that a user changed or that PanCode did not make are kept and
    listed; links are not followed. A project's own skills stay in the project, where programs read them.
    """
    found = _find_seen(with_project=False)
    for name in names:
        find_skill(found, name)
    why = "has errors and is left out: pancode config check --kind skills"
    face.warn(f"{one.skill.name} {why}" for one in found if not one.skill.is_sound)
    files = tuple(one.skill for one in _find_definitions())
    face.warn(f"{one.name} is left out: {one.findings[0].what}" for one in files if not one.is_sound)
    copied = [one.skill for one in found if one.skill.is_sound and (not names or one.skill.name in names)]
    copied += [one for one in files if one.is_sound and not names]
    _ask_consent(face, KeptSkills(home_here(os.environ)), copied, "Copy", yes)
    time = _make_backup_name()
    wanted = SkillsAsked(
        "sync", tuple(tools), tuple(names), force, time=time, found=tuple(found), files=files
    )
    return _change_copies(face, wanted, nodes, fleet)


def _make_cell(tool: str) -> Any:
    def cell(row: dict[str, Any]) -> str:
        counts = {state: count for state, count in row["tools"][tool].items() if count}
        same = counts.pop("same", 0)
        return ", ".join([f"{same} ok", *(f"{count} {state}" for state, count in sorted(counts.items()))])

    return cell


def _list_rows(machines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"node": one["node"], **row} for one in machines for row in one["rows"]]


def _format_problems(machines: Sequence[dict[str, Any]]) -> list[str]:
    found = [(one["node"], Problem(**one["problem"])) for one in machines if "problem" in one]
    return [f"{node}: {in_words(problem)}" for node, problem in found]


def _format_drifts(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each node, folder and state other than `same`, with the skills in that state."""
    drift: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["state"] != "same":
            drift.setdefault((row["node"], row["folder"], row["state"]), []).append(row["skill"])
    for (node, folder, state), names in drift.items():
        why = LEFT.get(state, "pancode skills sync")
        yield escape_line(f"{node} {folder}: {state}: {', '.join(names)} ({why})") + "\n"


def _format_done(row: dict[str, Any]) -> str:
    """Return the line about a copy that was changed, or that was left alone, with the reason."""
    if row.get("do") and row["state"] != "failed":
        words = {"write": "written", "remove": "removed"}.get(
            row["do"], "record removed: the copy no longer exists"
        )
        if row.get("backup"):
            words += f", the earlier version is in ~/{STATE}/backups/{row['backup']}/{row['folder']}"
    else:
        why = row.get("why") or LEFT.get(row["state"], "")
        words = row["state"] + (f" ({why})" if why else "")
    return escape_line(f"{row['node']} {row['folder']} {row['skill']}: {words}") + "\n"


@verb("skills rm", "deploy", "--copies")
def rm(
    names: Names,
    *,
    copies: Annotated[bool, option("Remove only the copies; without names: all of them.")] = False,
    tools: Tools,
    nodes: Nodes,
    fleet: Fleet = False,
    force: Force = False,
    face: Json,
) -> int:
    """Remove skills from your home, and their copies; with --copies, remove only the copies.

    A copy that a user changed is kept and listed, and PanCode no longer manages it.
    """
    if not names and not copies:
        raise UsageError(
            "no skill was given", fix="pancode skills rm SKILL; for all copies: pancode skills rm --copies"
        )
    if not copies:
        face.acts_here("skills")
        found, kept = _find_seen(with_project=False), KeptSkills(home_here(os.environ))
        there = [find_skill(found, name) for name in names]
        for one in there:
            kept.must_have(one)
        for one in there:
            kept.remove(one)
            face.note(f"{one.skill.name}: removed from {kept.folder}")
    request = SkillsAsked("remove", tuple(tools), tuple(names), force, time=_make_backup_name())
    return _change_copies(face, request, nodes, fleet)


def _make_backup_name() -> str:
    """Return the name of this request's backups, such as 20261123T101500123Z, which sorts by time."""
    from datetime import UTC, datetime

    now = datetime.fromtimestamp(SystemClock().wall_ms() / 1000, UTC)
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z"


def _send_request(face: Face, request: SkillsAsked, nodes: list[str], fleet: bool) -> list[dict[str, Any]]:
    """Return each node's answer, this computer's first, with the key `problem` if the node is unreachable."""
    if not nodes and not fleet:
        face.acts_here("skills")
        return [{"node": HERE, **act_here(request, Path.home())}]
    here = [{"node": HERE, **act_here(request, Path.home())}] if fleet else []
    from pancode.skills.node_service import act_there

    home_of(os.environ)  # Commands reach nodes with this computer's SSH.
    client = face.client()
    answer = client.get(FLEET)
    names = [node["name"] for node in answer["nodes"]] if fleet else nodes
    meant = {name: client.get(NODE.at(name))["target"] for name in names}
    if fleet:  # A node on this computer has the same home.
        meant = {n: one for n, one in meant.items() if not one["local"] or one["local_home"]}
    return [*here, *act_there(meant, replace(request, owner=answer["coordinator"]["fleet"]), os.environ)]


def _change_copies(face: Face, request: SkillsAsked, nodes: list[str], fleet: bool) -> int:
    """Carry out the request, print each changed or differing copy, and return the exit status."""
    machines = _send_request(face, request, nodes, fleet)
    rows, problems = _list_rows(machines), _format_problems(machines)
    lines = [_format_done(row) for row in rows if row["state"] != "same"]
    for one in machines:
        lines += [
            f"{one['node']}: backups are kept in {escape_line(place)}\n" for place in one.get("left", ())
        ]
    lines += problems
    words = "".join(lines) or ("no copies were found\n" if request.act == "remove" else "nothing to do\n")
    return face.end(_end(machines), {"nodes": machines}, lambda: words)


def _end(machines: Sequence[dict[str, Any]]) -> int:
    failed = any(row.get("state") == "failed" for row in _list_rows(machines))
    return ExitCode.PARTIAL if failed or any("problem" in one for one in machines) else ExitCode.DONE
