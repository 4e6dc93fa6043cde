"""What is ours is updated, what a user changed or made stays, no link is followed, nothing is left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.errors import NotFoundError
from pancode.skills.copies import LINK, NONE, STATE, act, decide_copy
from pancode.skills.copy_requests import SkillsAsked, count_copies
from pancode.skills.definitions import read_definitions
from pancode.skills.model import SkillFile, made_of
from pancode.skills.sources import FoundSkill, SkillSource

TEXT = "---\nname: deploy\ndescription: Deploy it.\n---\nDo it.\n"
CLAUDE = ".claude/skills/deploy/SKILL.md"
AGENTS = ".agents/skills/deploy/SKILL.md"


def found(text: str = TEXT) -> tuple[FoundSkill, ...]:
    files = {"SKILL.md": SkillFile(text.encode()), "scripts/run.sh": SkillFile(b"echo\n", executable=True)}
    return (FoundSkill(made_of("deploy", files), SkillSource("home", Path("/h"))),)


def do(home: Path, what: str, text: str | None = TEXT, **more: Any) -> dict[str, Any]:
    asked = SkillsAsked(what, time="t1", found=() if text is None else found(text), **more)
    answer = act(home, asked.request())
    if "need" in answer:
        assert not (home / ".claude").exists() or what == "sync"
        answer = act(home, asked.request(answer["need"]))
    assert "error" not in answer, answer
    return answer


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {row["folder"]: row["state"] for row in answer["rows"]}


@pytest.mark.parametrize(
    ("there", "wanted", "known", "force", "outcome"),
    [
        (NONE, "new", None, False, ("missing", "write")),
        (NONE, None, ["old"], False, ("gone", "forget")),
        ("new", "new", None, False, ("same", "")),
        ("old", "new", ["old"], False, ("old", "write")),
        ("old", None, ["old"], False, ("extra", "remove")),
        ("mine", "new", ["old"], False, ("changed", "")),
        ("mine", "new", ["old"], True, ("changed", "write")),
        ("mine", None, ["old"], False, ("changed", "")),
        ("mine", "new", None, False, ("unknown", "")),
        ("mine", "new", None, True, ("unknown", "write")),
        (LINK, "new", ["old"], True, ("link", "")),
        (LINK, None, ["old"], True, ("link", "")),
    ],
)
def test_each_copy_is_decided_by_hashes(
    there: str, wanted: str | None, known: list[str] | None, force: bool, outcome: tuple[str, str]
) -> None:
    assert decide_copy(there, wanted, known, force) == outcome


def test_ours_is_written_updated_and_taken_away_without_a_trace(tmp_path: Path) -> None:
    assert set(states(do(tmp_path, "sync")).values()) == {"missing"}
    assert (tmp_path / CLAUDE).read_text() == TEXT == (tmp_path / AGENTS).read_text()
    assert os.access(tmp_path / ".claude/skills/deploy/scripts/run.sh", os.X_OK)
    assert act(tmp_path, SkillsAsked("sync", found=found()).request())["rows"][0]["state"] == "same"
    do(tmp_path, "sync", TEXT + "More.\n")
    assert (tmp_path / CLAUDE).read_text().endswith("More.\n")
    assert do(tmp_path, "remove", None)["left"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / ".claude/skills/mine").mkdir(parents=True)
    do(tmp_path, "sync")
    do(tmp_path, "remove", None)
    assert [p.name for p in (tmp_path / ".claude/skills").iterdir()] == ["mine"]
    assert not (tmp_path / ".agents").exists()


def test_a_skill_that_is_gone_from_its_source_leaves_and_one_with_errors_is_held(tmp_path: Path) -> None:
    do(tmp_path, "sync")
    bad = found("no front matter")
    assert act(tmp_path, SkillsAsked("sync", found=bad).request())["rows"] == []
    assert (tmp_path / CLAUDE).exists()
    assert set(states(do(tmp_path, "sync", None)).values()) == {"extra"}
    assert not (tmp_path / ".claude/skills/deploy").exists()


def test_a_users_change_stays_until_force_which_keeps_it(tmp_path: Path) -> None:
    do(tmp_path, "sync")
    (tmp_path / CLAUDE).write_text("mine")
    (tmp_path / ".claude/skills/deploy/scripts/__pycache__").mkdir()
    new = TEXT + "More.\n"
    assert states(do(tmp_path, "sync", new)) == {"claude": "changed", "agents": "old", "antigravity": "old"}
    assert (tmp_path / CLAUDE).read_text() == "mine"
    row = do(tmp_path, "sync", new, force=True)["rows"][0]
    assert row["backup"] == "t1" and (tmp_path / CLAUDE).read_text() == new
    kept = tmp_path / STATE / "backups/t1/claude/deploy/SKILL.md"
    assert kept.read_text() == "mine" and os.listdir(tmp_path / ".claude/skills") == ["deploy"]
    assert do(tmp_path, "remove", None)["left"] == [str(tmp_path / STATE / "backups")]
    assert kept.read_text() == "mine" and not (tmp_path / CLAUDE).exists()


def test_a_sync_leaves_what_another_owner_has_made(tmp_path: Path) -> None:
    do(tmp_path, "sync")
    assert do(tmp_path, "sync", None, owner="f-other")["rows"] == []
    assert (tmp_path / CLAUDE).is_file()
    assert set(states(do(tmp_path, "sync", None)).values()) == {"extra"}, "their own owner takes them away"


def test_programs_that_share_a_name_of_a_folder_have_their_own_backups(tmp_path: Path) -> None:
    for file in (CLAUDE, AGENTS):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(file)
    assert states(do(tmp_path, "sync"))["claude"] == "unknown"
    do(tmp_path, "sync", force=True)
    kept = [tmp_path / STATE / f"backups/t1/{folder}/deploy/SKILL.md" for folder in ("claude", "agents")]
    assert [path.read_text() for path in kept] == [CLAUDE, AGENTS]


@pytest.mark.parametrize("place", [".claude", ".claude/skills", ".claude/skills/deploy"])
@pytest.mark.parametrize("dangling", [True, False])
def test_no_link_is_followed(tmp_path: Path, place: str, dangling: bool) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    (home / place).parent.mkdir(parents=True)
    if not dangling:
        away.mkdir()
    (home / place).symlink_to(away)
    assert states(do(home, "sync", force=True)) == {
        "claude": "link",
        "agents": "missing",
        "antigravity": "missing",
    }
    assert (home / place).is_symlink() and not (away.exists() and list(away.iterdir()))
    do(home, "remove", None)
    assert (home / place).is_symlink()


def test_a_link_that_a_user_puts_into_a_copy_is_a_change_and_is_not_read(tmp_path: Path) -> None:
    do(tmp_path, "sync")
    (tmp_path / ".claude/skills/deploy/out").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / ".agents/skills/deploy/pipe")
    rows = do(tmp_path, "status")["rows"]
    assert [row["state"] for row in rows] == ["changed", "changed", "same"]
    do(tmp_path, "sync", force=True)
    assert (tmp_path / STATE / "backups/t1/claude/deploy/out").is_symlink()
    assert set(states(do(tmp_path, "status")).values()) == {"same"}


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", ""])
def test_a_name_or_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    request = SkillsAsked("sync", found=found()).request()
    marks = request["skills"]["deploy"]
    assert "not a valid skill name" in act(tmp_path, {**request, "skills": {name: marks}})["error"]
    path = {"../SKILL.md": marks["SKILL.md"]}
    assert "not a valid path" in act(tmp_path, {**request, "skills": {"deploy": path}})["error"]
    assert not (tmp_path / STATE).exists()


def test_other_bytes_than_those_announced_are_not_written(tmp_path: Path) -> None:
    asked = SkillsAsked("sync", tools=("claude",), found=found())
    request = asked.request(act(tmp_path, asked.request())["need"])
    request["blobs"] = dict.fromkeys(request["blobs"], "bm8=")
    assert act(tmp_path, request)["rows"][0]["state"] == "failed"
    assert not (tmp_path / ".claude/skills/deploy").exists()


@pytest.mark.parametrize(
    "kept", ["{", "[]", '{"copies": [], "made": []}', '{"copies": {}, "made": ["../x"]}']
)
def test_a_damaged_manifest_stops_all(tmp_path: Path, kept: str) -> None:
    do(tmp_path, "sync")
    (tmp_path / STATE / "manifest.json").write_text(kept)
    assert "damaged" in act(tmp_path, SkillsAsked("sync", found=found(TEXT + "x")).request())["error"]
    assert (tmp_path / CLAUDE).read_text() == TEXT


def test_copies_of_another_owner_stay(tmp_path: Path) -> None:
    do(tmp_path, "sync", owner="fleet-a")
    assert do(tmp_path, "remove", None, owner="fleet-b")["rows"] == []
    assert (tmp_path / CLAUDE).exists()
    do(tmp_path, "remove", None, owner="fleet-a")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_counts_for_each_program_that_reads_it(tmp_path: Path) -> None:
    rows = do(tmp_path, "status", tools=("codex", "claude"))["rows"]
    assert count_copies(rows, ["codex", "claude"]) == {"codex": {"missing": 1}, "claude": {"missing": 1}}
    with pytest.raises(NotFoundError):
        do(tmp_path, "status", tools=("vim",))


def test_commands_and_agents_are_files_and_are_kept_as_skills_are(tmp_path: Path) -> None:
    kept, home = tmp_path / "kept", tmp_path / "home"
    home.mkdir()
    for kind, text in (("commands", "Fix $ARGUMENTS.\n"), ("agents", "---\nname: fix\n---\nYou fix.\n")):
        (kept / kind).mkdir(parents=True)
        (kept / kind / "fix.md").write_text(text)
    (kept / "commands" / "link.md").symlink_to("/etc/passwd")

    def act_on(what: str, **more: Any) -> dict[str, str]:
        files = () if what == "remove" else tuple(read_definitions(kept))
        return states(do(home, what, None, files=files, **more))

    assert act_on("sync") == dict.fromkeys(
        [*("claude-commands", "opencode-commands", "qwen-commands"), "claude-agents", "qwen-agents"],
        "missing",
    )
    assert (home / ".config/opencode/commands/fix.md").read_text() == "Fix $ARGUMENTS.\n"
    assert not list(home.rglob("link.md")), "no link is followed"
    assert set(act_on("sync").values()) == {"same"}
    mine = home / ".claude/agents/fix.md"
    mine.write_text("mine")
    (kept / "agents" / "fix.md").write_text("Another.\n")
    seen = act_on("sync")
    assert (seen["claude-agents"], seen["qwen-agents"], mine.read_text()) == ("changed", "old", "mine")
    act_on("sync", force=True)
    assert mine.read_text() == "Another.\n"
    assert (home / STATE / "backups/t1/claude-agents/fix.md").read_text() == "mine"
    (kept / "commands" / "fix.md").unlink()
    assert act_on("sync")["claude-commands"] == "extra"
    act_on("remove")
    assert [path for path in home.rglob("*") if path.is_file() and STATE not in str(path)] == []


@pytest.mark.parametrize(
    "front", ["permissionMode: bypassPermissions", "mcpServers: {x: {command: y}}", "hooks: {}"]
)
def test_what_an_agent_or_command_permits_is_asked_about(tmp_path: Path, front: str) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "a.md").write_text(f"---\n{front}\n---\nGo.\n")
    (one,) = read_definitions(tmp_path)
    assert one.is_sound and bool(one.powers) is (front != "hooks: {}")
