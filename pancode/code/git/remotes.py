"""What the user's own git settings say of a remote: addresses, proxies, authorities of TLS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pancode.code.git.safe import Git, safe_env

_FILES = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
_TLS = ("GIT_SSL_CAINFO",)
_NETWORK = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


def users_git(cwd: Path, config: Mapping[str, str] | None = None) -> Git:
    """Hardened git that reads the user's own settings, too; what is hardened wins over them."""
    hidden = ("GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
    env = {key: value for key, value in safe_env(config).items() if key not in hidden}
    return Git(cwd, env | {key: os.environ[key] for key in (*_FILES, *_NETWORK, *_TLS) if key in os.environ})


def push_addresses(project: Path, remote: str) -> list[str]:
    """Where `git push` goes, and the same as it is written, without rewriting; empty: no such remote."""
    asked = ("remote", "get-url", "--push", "--", remote)
    both = (users_git(project), Git(project, safe_env()))
    return [done.text() for done in (git.ask(*asked) for git in both) if done.ok and done.text()]


def http_setting(url: str, key: str) -> str:
    """The setting below `http` for that URL, of the user's own files; empty: there is none."""
    git = users_git(Path("/"))
    kind = ("--type=path",) if key == "sslCAInfo" else ()
    return git.ask("config", *kind, "--get-urlmatch", f"http.{key}", url).text()
