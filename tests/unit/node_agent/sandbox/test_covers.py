"""What path rules name among the files that are there; what cannot be a mount stays with the checks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent.sandbox import shown as room
from node_agent.sandbox.policy import Covers
from node_agent.sandbox.shown import Ground, covers_of, read_covered, write_covered
from node_agent.wire.policy import PathAccess, PathRule

NONE, READ, NO_DELETE = PathAccess.NONE, PathAccess.READ, PathAccess.NO_DELETE


def rule(pattern: str, access: PathAccess = NONE) -> PathRule:
    return PathRule(pattern=pattern, access=access)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in (".env", "src/.env", "src/a.py", "conf/prod.yaml", "conf/dev.yaml", "vault/k/x", ".git/.env"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    return tree


def found(tree: Path, *rules: PathRule, writable: bool = True) -> tuple[set[str], set[str], set[str]]:
    made = covers_of(rules, Ground(str(tree)), writable)
    assert not made.left
    parts = (made.folders, made.files, made.kept)
    folders, files, kept = ({os.path.relpath(path, tree) for path in part} for part in parts)
    return folders, files, kept


def test_one_place_is_covered_as_what_it_is(tree: Path) -> None:
    rules = (rule("conf/prod.yaml"), rule("./vault"), rule("src/a.py", READ), rule("./no/such"))
    assert found(tree, *rules) == ({"vault"}, {"conf/prod.yaml"}, {"src/a.py"})


def test_what_counts_in_every_folder_is_looked_for_in_each_but_gits_own(tree: Path) -> None:
    assert found(tree, rule(".env")) == (set(), {".env", "src/.env"}, set())
    assert found(tree, rule("*.yaml"), rule("vau*/", READ)) == (
        set(),
        {"conf/prod.yaml", "conf/dev.yaml"},
        {"vault"},
    )
    assert found(tree, rule("**/k/**")) == ({"vault/k"}, set(), set())


def test_the_strictest_rule_counts_also_below_a_milder_one(tree: Path) -> None:
    rules = (rule("vault", READ), rule("vault/k"), rule("*.env", READ), rule(".env"))
    assert found(tree, *rules) == ({"vault/k"}, {".env", "src/.env"}, {"vault"})


def test_below_what_is_hidden_there_is_nothing_to_cover(tree: Path) -> None:
    assert found(tree, rule("./vault"), rule("vault/k"), rule("vault/k/x", READ)) == ({"vault"}, set(), set())


def test_where_nothing_can_be_written_only_reading_is_covered(tree: Path) -> None:
    rules = (rule("src", READ), rule(".env"))
    assert found(tree, *rules, writable=False)[2] == set()


def test_what_must_only_not_be_deleted_is_no_mount(tree: Path) -> None:
    assert found(tree, rule("src/a.py", NO_DELETE), rule("*.py", NO_DELETE)) == (set(), set(), set())


def test_a_link_is_never_mounted_upon_and_hides_what_it_leads_to(tree: Path, tmp_path: Path) -> None:
    """The repository chooses its links: none of them reaches out of the checkout, or takes it away whole."""
    (tmp_path / "outside").write_text("x")
    for name, to in (
        ("inner", "conf/dev.yaml"),
        ("outer", str(tmp_path / "outside")),
        ("up", ".."),
        ("self", "."),
        ("gone", "nothing"),
        ("loop", "loop"),
        ("deep", "vault"),
        ("git", ".git"),
    ):
        (tree / name).symlink_to(to)
    names = ("inner", "outer", "up", "self", "gone", "loop")
    assert found(tree, *(rule(f"./{name}") for name in names)) == (set(), {"conf/dev.yaml"}, set())
    assert found(tree, *map(rule, names)) == (set(), {"conf/dev.yaml"}, set())
    assert found(tree, rule("deep/k/x", READ), rule("./git", READ)) == (set(), set(), {"vault/k/x"})


def test_what_is_no_file_is_covered_as_one(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    assert found(tree, rule("pipe")) == (set(), {"pipe"}, set())


def test_elsewhere_only_what_is_shown_is_hidden_and_never_what_is_needed(tree: Path, tmp_path: Path) -> None:
    home, tools = tmp_path / "home", tmp_path / "tools"
    for file in (home / "keys/k", tools / "bin/x", tmp_path / "other"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    ground = Ground(str(tree), (str(home), str(tools)), str(home), (str(tree), str(tools)))
    rules = ("~/keys", f"{tools}/bin/x", str(tools), str(tmp_path), str(tmp_path / "other"), "~/gone")
    made = covers_of([rule(one) for one in rules], ground, writable=True)
    assert made == Covers((f"{home}/keys",), (f"{tools}/bin/x",))
    assert covers_of([rule("~/keys", READ)], ground, writable=True) == Covers()
    assert covers_of([rule("~/k*")], ground, writable=True) == Covers()


def test_a_checkout_beyond_the_bounds_is_said_to_be(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_SEEN", 3)
    assert covers_of([rule(".env")], Ground(str(tree)), writable=True).left
    monkeypatch.setattr(room, "MOST_SEEN", 1_000)
    monkeypatch.setattr(room, "MOST_COVERED", 1)
    made = covers_of([rule("*.yaml"), rule(".env")], Ground(str(tree)), writable=True)
    assert made.left and len(made.files) == 1


def test_what_was_covered_once_is_again_whatever_was_put_beside_it(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, ground = (rule("*.yaml"), rule("~/keys")), Ground(str(tree), (str(tmp_path),), str(tmp_path))
    (tmp_path / "keys").mkdir()
    write_covered(tmp_path, str(tree), covers_of(rules, ground, writable=True), ())
    monkeypatch.setattr(room, "MOST_COVERED", 3)
    for number in range(9):
        (tree / "src" / f"{number}.yaml").write_text("x")
    made = covers_of(rules, ground, writable=True, before=read_covered(tmp_path))
    assert made.left and made.folders == (str(tmp_path / "keys"),)
    assert set(made.files) == {str(tree / "conf" / name) for name in ("prod.yaml", "dev.yaml")}


def test_what_was_moved_with_its_folder_is_covered_where_it_lies(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, ground = (rule("conf/prod.yaml"), rule("src/a.py", READ), rule("vault/k")), Ground(str(tree))
    write_covered(tmp_path, str(tree), covers_of(rules, ground, writable=True), ())
    (tree / "conf").rename(tree / "src" / "c2")
    (tree / "vault").rename(tree / "v2")
    (tree / "vault").symlink_to("v2")
    again = covers_of(rules, ground, writable=True, before=read_covered(tmp_path))
    assert again == Covers((f"{tree}/v2/k",), (f"{tree}/src/c2/prod.yaml",), (f"{tree}/src/a.py",))
    monkeypatch.setattr(room, "MOST_SEEN", 2)
    assert covers_of(rules, ground, writable=True, before=read_covered(tmp_path)).lost
    (tree / "src" / "c2" / "prod.yaml").unlink()
    monkeypatch.setattr(room, "MOST_SEEN", 1_000)
    assert covers_of(rules, ground, writable=True, before=read_covered(tmp_path)).files == ()
