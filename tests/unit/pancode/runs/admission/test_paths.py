"""Which words of a task are paths, and which paths lie inside the project."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancode.runs.admission.request_rules import find_path_like_words, is_inside, resolve_path

PROJECT = "/home/ana/shop"


@pytest.mark.parametrize(
    ("task", "paths"),
    [
        ("fix src/auth/login.py please", ("src/auth/login.py",)),
        ('fix `src/a.py`, (src/b.py) and "src/c.py".', ("src/a.py", "src/b.py", "src/c.py")),
        ("see src/a.py:12:3 and src/a.py:14", ("src/a.py",)),
        ("copy ../other/x and ~/notes", ("../other/x", "~/notes")),
        ("read /etc/passwd, /home/ana/secret", ("/etc/passwd", "/home/ana/secret")),
        ("add the route /users/{id} and /api/login", ()),
        ("see https://example.com/a/b.html", ()),
        ("a TCP/IP and/or 1/2 thing", ()),
        ("make ./build", ("./build",)),
        ("cat /data/export.csv", ("/data/export.csv",)),
        ("...", ()),
        ("", ()),
    ],
)
def test_words_that_read_as_paths(task: str, paths: tuple[str, ...]) -> None:
    assert find_path_like_words(task) == paths


@pytest.mark.parametrize(
    ("word", "path", "inside"),
    [
        ("src/a.py", "/home/ana/shop/web/src/a.py", True),
        ("../a.py", "/home/ana/shop/a.py", True),
        ("../../shop-old/a.py", "/home/ana/shop-old/a.py", False),
        ("../../../x", "/home/x", False),
        ("~/shop/a.py", "/home/ana/shop/a.py", True),
        ("~/.ssh/id", "/home/ana/.ssh/id", False),
        ("/home/ana/shop", "/home/ana/shop", True),
        ("/etc/../home/ana/shop/a", "/home/ana/shop/a", True),
    ],
)
def test_where_a_word_points(word: str, path: str, inside: bool) -> None:
    assert resolve_path(word, f"{PROJECT}/web", "/home/ana") == path
    assert is_inside(path, PROJECT) is inside


@given(st.lists(st.sampled_from(["..", ".", "a", "b.py", "shop"]), max_size=8))
def test_inside_is_what_no_dots_lead_out_of(parts: list[str]) -> None:
    path = resolve_path("/".join(["x", *parts]), PROJECT, "/home/ana")
    assert is_inside(path, PROJECT) == (path + "/").startswith(PROJECT + "/")
    assert ".." not in path.split("/")


@given(st.text(max_size=300))
def test_any_text_is_read(task: str) -> None:
    assert all(word in task for word in find_path_like_words(task))
