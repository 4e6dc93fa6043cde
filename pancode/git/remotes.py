"""Reads the user's own git settings for a remote: addresses, proxies, TLS authorities."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from node_agent.wire.git import GitCall, GitDone
from pancode.git.forge_rules import RemoteRepository, behind_alias, repository_of, ssh_host_of
from pancode.git.runner import Git, GitFailure, any_owner_env, run_git, safe_env
from pancode.kernel.errors import UnavailableError, WorkspaceError
from pancode.kernel.formatting import escape_line

TIMEOUT_S = 20.0
PUSH_S = 180.0
MOST_SAID = 20
"""How many lines of a remote's own output are shown."""
HTTPS = "https://"


_FILES = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
_TLS = ("GIT_SSL_CAINFO",)
_NETWORK = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


def users_git(cwd: Path) -> Git:
    """Return hardened git that also reads the user's own settings; the hardening overrides them."""
    hidden = ("GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
    env = {key: value for key, value in safe_env().items() if key not in hidden}
    return Git(cwd, env | {key: os.environ[key] for key in (*_FILES, *_NETWORK, *_TLS) if key in os.environ})


def push_addresses(project: Path, remote: str) -> list[str]:
    """Return the address that `git push` uses and the one before URL rewriting; empty if no such remote."""
    command = ("remote", "get-url", "--push", "--", remote)
    both = (users_git(project), Git(project, any_owner_env()))
    return [done.text() for done in (git.ask(*command) for git in both) if done.ok and done.text()]


PULLS_TO = "pancode.pullRequests"
"""The setting of a repository with the one to which its pull requests belong, `OWNER/NAME`."""


def read_base(project: Path) -> str:
    """Return the repository to which pull requests of this one belong, as the user has answered PanCode or
    `gh`; empty: not answered."""
    git = users_git(project)
    if answered := git.ask("config", "--get", PULLS_TO).text():
        return answered
    row = git.ask("config", "--get-regexp", r"^remote\..*\.gh-resolved$").text().partition("\n")[0]
    key, _, value = row.partition(" ")
    if value != "base":
        return value
    remote = key.removeprefix("remote.").removesuffix(".gh-resolved")
    return next((repository_of(url).path for url in push_addresses(project, remote)), "")


def resolve_repository(project: Path, url: str) -> RemoteRepository:
    """Return the repository at a remote's address, with the host that the user's SSH settings give for an
    alias. UsageError if the address is not one of a forge."""
    repository, host = repository_of(url), ssh_host_of(url)
    return behind_alias(repository, _ask_ssh(project, host)) if host else repository


def _ask_ssh(project: Path, alias: str) -> str:
    """Return the host name to which `ssh -G` resolves the alias; the alias itself if ssh does not answer."""
    rows = (
        users_git(project).ask("config", "--show-scope", "--get-all", "core.sshCommand").text().splitlines()
    )
    # The repository's own settings may not choose a program to start.
    own = [
        value for scope, _, value in (row.partition("\t") for row in rows) if scope in ("global", "system")
    ]
    command = os.environ.get("GIT_SSH_COMMAND") or (own[-1] if own else "")
    try:
        words = shlex.split(command)
        words = words if words and Path(words[0]).name == "ssh" else ["ssh"]
        argv = [*words, "-G", "--", alias]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return alias
    values = (line.partition(" ") for line in done.stdout.splitlines())
    return next((value.lower() for key, _, value in values if key == "hostname" and value), alias)


def http_setting(url: str, key: str) -> str:
    """Return the `http` setting for that URL from the user's own git files; empty if not set."""
    git = users_git(Path("/"))
    kind = ("--type=path",) if key == "sslCAInfo" else ()
    return git.ask("config", *kind, "--get-urlmatch", f"http.{key}", url).text()


def push_unattended(tree: str, remote: str, branch: str, environ: Mapping[str, str]) -> None:
    """Push a branch without force, with the user's git and logins, but without a prompt and without hooks.

    Idempotent. `environ`: of the user's login. Raises WorkspaceError if the remote refuses the branch,
    UnavailableError if it could not be reached.
    """
    ref = f"refs/heads/{branch}"
    quiet = {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "SSH_ASKPASS_REQUIRE": "never",
    }
    args = ("-c", "core.hooksPath=/dev/null", "push", "--porcelain", "--", remote, f"{ref}:{ref}")
    try:
        done = run_git(GitCall(args, {**environ, **quiet}, Path(tree), timeout_s=PUSH_S))
    except GitFailure as exc:
        done = GitDone(1, b"", str(exc))
    if done.ok:
        return
    error = not_pushed_error(remote, branch, done.text(), done.err)
    if "!\t" not in done.text():
        raise UnavailableError(error.words, why=error.why, fix=error.fix, code="not_pushed")
    raise error


def not_pushed_error(remote: str, branch: str, output: str, err: str) -> WorkspaceError:
    """Return a failed push's error with the remote's text; a refusal has another fix. `output`: porcelain."""
    refused = next((row.split("\t")[-1] for row in output.splitlines() if row.startswith("!\t")), "")
    to, ours = shlex.quote(remote), shlex.quote(branch)
    fix = f"fix the remote (git ls-remote {to} must answer), then: git push {to} {ours}"
    if refused.startswith("[remote rejected]"):
        fix = f"change the commits as the remote requires (git log {ours}), or push to another branch: "
        fix += f"git push {to} {ours}:OTHER"
    elif refused:
        fix = f"git fetch {to} && git rebase {to}/{ours} {ours}, then push"
    words = [line.rstrip() for line in err.splitlines() if line.strip()]
    lines = [line for line in words if line.startswith("remote:") or not refused][:MOST_SAID]
    why = "; ".join(map(escape_line, (*lines, *([refused] if refused else []))))
    what = f"landed on {branch}, but not pushed to {remote}"
    return WorkspaceError(what, why=why, fix=fix, code="not_pushed")
