"""What a phase may see and write becomes an argument list: nothing more than was named, nothing secret."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from node_agent.sandbox.policy import (
    BLANK,
    STATUS_FD,
    Covers,
    Network,
    System,
    Tools,
    View,
    build_fence,
    build_prefix,
)

TOOLS = Tools("/usr/bin/bwrap")
ROOT = Tools("/usr/bin/bwrap", "/usr/bin/setpriv", 60_800)
SYSTEM = System(("/usr",), {"/bin": "usr/bin"})
GIT = "/n/work/a/git"
VIEW = View(
    tree="/n/work/a/tree",
    home="/n/work/a/home",
    writable=True,
    network=Network.NONE,
    etc="/n/run/wall",
    system=SYSTEM,
    shown=(GIT, "/n/work/a/tree/.git", "/opt/tool"),
    hidden=("/n",),
)


def mounts(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """(flag, where) of every bind and tmpfs, in order."""
    at = [n for n, word in enumerate(words) if word in ("--bind", "--ro-bind", "--tmpfs", "--ro-bind-try")]
    return [(words[n], words[n + (1 if words[n] == "--tmpfs" else 2)]) for n in at]


def test_only_tree_and_home_are_written() -> None:
    words = build_prefix(VIEW, TOOLS)
    assert [where for flag, where in mounts(words) if flag == "--bind"] == [VIEW.home, VIEW.tree]
    read_only = build_prefix(replace(VIEW, writable=False), TOOLS)
    assert [where for flag, where in mounts(read_only) if flag == "--bind"] == [VIEW.home]


def test_the_repository_is_mounted_over_the_tree_read_only() -> None:
    order = mounts(build_prefix(VIEW, TOOLS))
    assert order.index(("--bind", VIEW.tree)) < order.index(("--ro-bind", f"{VIEW.tree}/.git"))
    assert ("--ro-bind", GIT) in order and ("--ro-bind", "/proc/sys") in order


def test_nothing_else_of_the_machine_is_there() -> None:
    shown = {where for flag, where in mounts(build_prefix(VIEW, TOOLS)) if flag in ("--bind", "--ro-bind")}
    assert shown == {
        *("/usr", "/proc/sys", "/etc/passwd", "/etc/group", "/etc/hosts", "/opt/tool"),
        *(GIT, f"{VIEW.tree}/.git", VIEW.tree, VIEW.home),
    }


def test_what_the_machines_programs_need_of_etc_is_there_to_read() -> None:
    system = replace(SYSTEM, etc=("/etc/java-17-openjdk",))
    assert ("--ro-bind-try", "/etc/java-17-openjdk") in mounts(
        build_prefix(replace(VIEW, system=system), TOOLS)
    )


def test_a_device_file_is_there_only_where_it_is_named() -> None:
    gpu = ("/x/nvidia0", "/dev/nvidia0")
    words = build_prefix(replace(VIEW, devices=(gpu,)), TOOLS)
    at = words.index("--dev-bind-try")
    assert words[at + 1 : at + 3] == gpu and words[at - 2 : at] == ("--dev", "/dev")
    assert "--dev-bind-try" not in build_prefix(VIEW, TOOLS)
    fenced = build_fence(replace(VIEW, devices=(gpu,)))
    assert ("--write", "/x/nvidia0") in pairwise(fenced) and "/x/nvidia0" not in build_fence(VIEW)


@pytest.mark.parametrize(
    ("network", "apart", "hosts"),
    [(Network.NONE, True, True), (Network.MODEL, True, True), (Network.FULL, False, False)],
)
def test_the_network_is_shared_only_where_it_is_full(network: Network, apart: bool, hosts: bool) -> None:
    words = build_prefix(replace(VIEW, network=network, gate="/n/gate"), TOOLS)
    assert ("--unshare-net" in words) is apart
    assert (("--ro-bind", "/etc/hosts") in mounts(words)) is hosts
    assert (("--ro-bind-try", "/etc/resolv.conf") in mounts(words)) is not apart


def test_what_is_hidden_is_covered_where_something_shown_holds_it() -> None:
    assert ("--tmpfs", "/n") not in mounts(build_prefix(VIEW, TOOLS))
    order = mounts(build_prefix(replace(VIEW, hidden=("/n/x",), shown=(*VIEW.shown, "/n")), TOOLS))
    assert order.index(("--ro-bind", "/n")) < order.index(("--tmpfs", "/n/x"))
    words = build_prefix(replace(VIEW, shown=(*VIEW.shown, "/n")), TOOLS)
    assert ("--tmpfs", "/n") in mounts(words) and ("--ro-bind", "/n") not in mounts(words)
    assert words[words.index("--remount-ro") + 1] == "/n"


def test_the_wall_is_whole_whatever_the_view() -> None:
    for network in Network:
        words = build_prefix(replace(VIEW, network=network, gate="/g"), TOOLS)
        every = {"--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--disable-userns"}
        assert every | {"--die-with-parent", "--new-session"} <= set(words)
        assert words[words.index("--cap-drop") + 1] == "ALL"
        assert words[words.index("--json-status-fd") + 1] == str(STATUS_FD)
        assert words[-1] == "--" and words[words.index("--chdir") + 1] == VIEW.tree
        below = build_prefix(replace(VIEW, below="-web/app"), TOOLS)
        assert below[below.index("--chdir") + 1] == f"{VIEW.tree}/-web/app"
        assert "--setenv" not in words, "anybody can read an argument list"


def test_root_puts_its_folders_where_another_may_enter_and_steps_down() -> None:
    words = build_prefix(VIEW, ROOT)
    outer, rest = words[: words.index("--")], words[words.index("--") + 1 :]
    down, inner = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    assert outer[:2] == ("/usr/bin/bwrap", "--die-with-parent") and "--unshare-user" not in outer
    assert down[:5] == ("/usr/bin/setpriv", "--reuid", "60800", "--regid", "60800")
    assert down[-2:] == ("--pdeathsig", "KILL") and "--clear-groups" in down
    staged = {outer[n + 2]: outer[n + 1] for n, word in enumerate(outer) if word == "--bind"}
    binds = {inner[n + 2]: inner[n + 1] for n, word in enumerate(inner) if word in ("--bind", "--ro-bind")}
    for path in (VIEW.tree, VIEW.home, GIT, f"{VIEW.tree}/.git"):
        assert staged[binds[path]] == path
    assert binds["/usr"] == "/usr"
    plain = build_prefix(VIEW, TOOLS)
    assert [where for _, where in mounts(inner)] == [where for _, where in mounts(plain)]


@pytest.mark.parametrize(
    "changes",
    [
        {"tree": "/"}, {"home": "/"}, {"tree": "work"}, {"home": "/n/../x"}, {"shown": ("etc",)},
        {"etc": ""}, {"hidden": ("..",)}, {"network": Network.MODEL, "gate": ""}, {"gate": "g"},
    ],
)  # fmt: skip
def test_a_view_that_would_open_too_much_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="path|gateway"):
        replace(VIEW, **changes)


@pytest.mark.parametrize("tools", [TOOLS, ROOT])
def test_what_rules_name_is_covered_after_all_else(tools: Tools) -> None:
    tree = VIEW.tree
    covers = Covers((f"{tree}/vault",), (f"{tree}/.env", f"{tree}/conf/k"), (f"{tree}/conf",))
    words = build_prefix(replace(VIEW, covers=covers), tools)
    order = mounts(words)
    last = order.index(("--ro-bind", f"{tree}/.git"))
    for one in (("--tmpfs", f"{tree}/vault"), ("--ro-bind", f"{tree}/.env"), ("--ro-bind", f"{tree}/conf")):
        assert order.index(one) > last
    assert order.index(("--ro-bind", f"{tree}/conf")) < order.index(("--ro-bind", f"{tree}/conf/k"))
    at = words.index(f"{tree}/vault")
    assert words[at - 3 : at + 3] == ("--perms", "0000", "--tmpfs", words[at], "--remount-ro", words[at])
    blank, sources = f"{VIEW.etc}/{BLANK}", {words[n + 2]: words[n + 1] for n in binds(words)}
    staged = tools is ROOT
    assert sources[f"{tree}/.env"] == (words[words.index(blank) + 1] if staged else blank)
    assert sources[f"{tree}/conf"] == (f"{sources[tree]}/conf" if staged else f"{tree}/conf")


def binds(words: tuple[str, ...]) -> list[int]:
    return [n for n, word in enumerate(words) if word in ("--bind", "--ro-bind")]


def test_a_cover_has_a_clean_path_too() -> None:
    with pytest.raises(ValueError, match="normalized"):
        replace(VIEW, covers=Covers(files=(f"{VIEW.tree}/../x",)))


def test_processes_are_held_where_the_machine_can() -> None:
    for tools in (TOOLS, ROOT):
        assert build_prefix(VIEW, tools, processes=50) == build_prefix(VIEW, tools)
        counting = replace(tools, prlimit="/usr/bin/prlimit")
        assert build_prefix(VIEW, counting) == build_prefix(VIEW, tools)
        words = build_prefix(VIEW, counting, processes=50)
        at = words.index("/usr/bin/prlimit")
        assert words[at : at + 4] == ("/usr/bin/prlimit", "--nproc=50:50", "--", TOOLS.bwrap)
        assert words[at + 3 :] == build_prefix(VIEW, tools)[-len(words[at + 3 :]) :]
        assert ("--unshare-user" in words[:at]) is (tools is TOOLS), "root's steps down to a user of its own"


@pytest.mark.parametrize("tools", [TOOLS, ROOT], ids=["user", "root"])
def test_where_the_first_process_is_ours_bubblewrap_keeps_none_of_its_own(tools: Tools) -> None:
    words = build_prefix(VIEW, tools, as_first=True)
    inner = words[len(words) - words[::-1].index("/usr/bin/bwrap") :]
    assert words.count("--as-pid-1") == inner.count("--as-pid-1") == 1, (
        "of the sandbox, and not of what is around it"
    )
    assert "--unshare-pid" in inner and "--as-pid-1" not in build_prefix(VIEW, tools)
