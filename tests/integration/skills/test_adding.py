"""Skills come into the home from a folder or from one commit, checked and whole; nothing there is lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pancode.kernel.errors import ConflictError, NotFoundError, RefusedError, UsageError
from pancode.skills.index import read_index
from pancode.skills.library import KeptSkills, skills_below
from pancode.skills.local_service import fetch_folder, find_newest_commit, is_address
from pancode.skills.sources import find_skill, list_sources, read_skill, skills_of

TEXT = "---\nname: deploy\ndescription: Deploy it.\n---\nDo it.\n"


def written(folder: Path, text: str = TEXT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(text)
    return folder


def git(repo: Path, *args: str) -> str:
    argv = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(repo), *args]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = tmp_path / "pack"
    written(repo / "skills/deploy")
    (repo / "skills/deploy/run.sh").write_text("echo\n")
    (repo / "skills/deploy/run.sh").chmod(0o755)
    (repo / ".gitattributes").write_text("SKILL.md filter=evil export-ignore\n")
    git(repo, "init", "--quiet")
    git(repo, "add", "-A")
    git(repo, "commit", "--quiet", "-m", "one")
    return repo


def test_from_a_folder_and_again_and_anew(tmp_path: Path) -> None:
    kept, folder = KeptSkills(tmp_path / "home"), written(tmp_path / "deploy")
    origin = {"from": str(folder)}
    (skill,) = skills_below(folder)
    assert kept.add(skill, origin, force=False) and not kept.add(skill, origin, force=False)
    written(folder, TEXT + "More.\n")
    assert kept.add(read_skill(folder), origin, force=False)
    written(kept.folder / "deploy", TEXT + "Mine.\n")
    written(folder, TEXT + "Third.\n")
    with pytest.raises(ConflictError):
        kept.add(read_skill(folder), origin, force=False)
    assert kept.add(read_skill(folder), origin, force=True)
    assert kept.origins()["deploy"]["from"] == str(folder)
    found = skills_of(list_sources(tmp_path / "home", None))
    kept.remove(find_skill(found, "deploy"))
    assert not (kept.folder / "deploy").exists() and kept.origins() == {}
    with pytest.raises(NotFoundError):
        kept.remove(find_skill(found, "release"))


def test_one_with_errors_or_in_the_place_of_a_link_is_refused(tmp_path: Path) -> None:
    kept, folder = KeptSkills(tmp_path / "home"), written(tmp_path / "deploy", TEXT.replace("deploy", "x"))
    with pytest.raises(RefusedError, match="has errors"):
        kept.add(read_skill(folder), {"from": "x"}, force=True)
    kept.folder.mkdir(parents=True)
    (kept.folder / "deploy").symlink_to("/nowhere")
    with pytest.raises(ConflictError, match="is a link"):
        kept.add(read_skill(written(folder)), {"from": "x"}, force=True)
    with pytest.raises(NotFoundError):
        skills_below(tmp_path / "home")


def test_from_one_commit_and_from_no_branch(repo: Path, tmp_path: Path) -> None:
    address, commit = f"file://{repo}", git(repo, "rev-parse", "HEAD")
    written(repo / "skills/deploy", TEXT + "Tomorrow.\n")
    git(repo, "commit", "--quiet", "-am", "two")
    with fetch_folder(address, commit, "") as folder:
        (skill,) = skills_below(folder, "pack")
        assert skill.is_sound and skill.body == "Do it.\n" and skill.scripts == ["run.sh"]
    assert not folder.exists()
    with fetch_folder(address, commit, "skills/deploy") as below:
        assert [one.name for one in skills_below(below, "deploy")] == ["deploy"]
    for wrong in (None, "main", commit[:12], f"--upload-pack={commit}"):
        with pytest.raises(UsageError, match="full id of the commit"), fetch_folder(address, wrong, ""):
            pass
    with pytest.raises(NotFoundError), fetch_folder(address, "0" * 40, ""):
        pass


def test_a_commit_that_leads_out_does_not(repo: Path) -> None:
    (repo / "skills/deploy/out").symlink_to("/etc/passwd")
    git(repo, "add", "-A")
    git(repo, "commit", "--quiet", "-m", "link")
    with fetch_folder(f"file://{repo}", git(repo, "rev-parse", "HEAD"), "") as folder:
        (skill,) = skills_below(folder)
        assert [finding.code for finding in skill.findings] == ["link"] and "out" not in skill.files


def test_a_folder_of_skills_that_is_a_link_is_not_looked_into(repo: Path, tmp_path: Path) -> None:
    written(tmp_path / "private/deploy")
    git(repo, "rm", "-r", "--quiet", "skills")
    (repo / "skills").symlink_to(tmp_path / "private")
    git(repo, "add", "-A")
    git(repo, "commit", "--quiet", "-m", "link")
    with fetch_folder(f"file://{repo}", git(repo, "rev-parse", "HEAD"), "") as folder:
        with pytest.raises(NotFoundError):
            skills_below(folder)
        assert not (folder / "skills").exists()
    with pytest.raises(NotFoundError):
        skills_below(repo)


def test_an_add_that_was_killed_between_its_renames_loses_nothing(tmp_path: Path) -> None:
    kept = KeptSkills(tmp_path / "home")
    written(kept.folder / ".deploy.old", TEXT + "Mine.\n")
    (skill,) = skills_below(written(tmp_path / "deploy"))
    with pytest.raises(ConflictError):
        kept.add(skill, {"from": "x"}, force=False)
    assert (kept.folder / "deploy/SKILL.md").read_text() == TEXT + "Mine.\n"


@pytest.mark.parametrize("address", ["ext::sh -c id% >&2", "http://127.0.0.1:1/x", "-u x@y:z"])
def test_no_other_way_to_a_server_is_taken(address: str) -> None:
    with pytest.raises(NotFoundError), fetch_folder(address, "0" * 40, ""):
        pass


def test_an_address_is_told_from_a_folder(tmp_path: Path) -> None:
    assert is_address("https://host/x.git") and is_address("git@host:x.git") and is_address("ext::x")
    assert not is_address(str(tmp_path)) and not is_address("./deploy") and not is_address("deploy")


def test_an_index_at_an_address_is_read_at_its_newest_commit(tmp_path: Path, repo: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD")
    entry = f"{{name: deploy, description: Ship it, from: 'file://{repo}', commit: {commit}}}"
    (repo / "skills.yaml").write_text(f"skills: [{entry}]\n")
    git(repo, "add", "-A")
    git(repo, "commit", "--quiet", "-m", "an index")
    address = f"file://{repo}"
    assert find_newest_commit(address) == git(repo, "rev-parse", "HEAD")
    with fetch_folder(address, find_newest_commit(address), "skills.yaml") as file:
        (one,), wrong = read_index(file.read_text(), address)
    assert (one.name, one.commit, wrong) == ("deploy", commit, 0)
    with fetch_folder(one.address, one.commit, one.path) as folder:
        assert [skill.name for skill in skills_below(folder)] == ["deploy"]
    with pytest.raises(NotFoundError, match="cannot read"):
        find_newest_commit(f"file://{tmp_path}/nowhere")
