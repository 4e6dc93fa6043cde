"""What a stream may do is in its environment, and nowhere else."""

from __future__ import annotations

from node_agent.wire.identity import AttemptId
from pancode.git.depot_server import Grant, Refusal, grant_for, serve_env

WHO = AttemptId(run="r-7f3k2", attempt=1, lease=4)


def _values(env: dict[str, str], key: str) -> list[str]:
    numbers = range(int(env["GIT_CONFIG_COUNT"]))
    return [env[f"GIT_CONFIG_VALUE_{n}"] for n in numbers if env[f"GIT_CONFIG_KEY_{n}"] == key]


def test_a_fetch_sees_its_snapshot_and_may_write_nothing() -> None:
    grant = grant_for("fetch", WHO, "p-0123")
    assert isinstance(grant, Grant)
    env = serve_env(grant, "/hooks")
    assert _values(env, "uploadpack.hideRefs") == ["refs/", "HEAD", "!refs/pancode/snap/r-7f3k2"]
    assert env["PANCODE_PUSH_REF"] == ""
    assert "GIT_PROTOCOL" not in env


def test_a_push_sees_snapshot_and_own_ref_and_may_write_that() -> None:
    grant = grant_for("push", WHO, "p-0123", max_bytes=1000)
    assert isinstance(grant, Grant)
    env = serve_env(grant, "/hooks")
    shown = ["!refs/pancode/snap/r-7f3k2", "!refs/pancode/r-7f3k2/1.4"]
    assert _values(env, "receive.hideRefs") == ["refs/", "HEAD", *shown]
    assert env["PANCODE_PUSH_REF"] == "refs/pancode/r-7f3k2/1.4"
    assert _values(env, "receive.maxInputSize") == ["1000"]
    assert _values(env, "core.hooksPath") == ["/hooks"]


def test_logs_need_no_repository_and_git_does() -> None:
    assert grant_for("log", WHO, None) == Grant("log", WHO, max_bytes=1 << 30)
    assert isinstance(grant_for("fetch", WHO, None), Refusal)
