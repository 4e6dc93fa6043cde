"""The settings of forges: a token only by its name, an address only where a token is safe."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.config.load import ConfigPlaces, load
from pancode.git.forge_rules import ForgeAccess, ForgeKind
from pancode.kernel.errors import ConfigError


def written(tmp_path: Path, text: str) -> dict[str, ForgeAccess]:
    (tmp_path / "pancode.yaml").write_text(text)
    settings = load(ConfigPlaces(tmp_path, None, tmp_path / "none"), {}).settings
    return {host: one.access() for host, one in settings.forge.items()}


def test_hosts_with_dots_in_their_names(tmp_path: Path) -> None:
    text = (
        "forge:\n  github.com: {token: secret:github}\n"
        "  git.example.org: {kind: forgejo, url: 'https://git.example.org/api/v1', token: secret:f}\n"
        "  127.0.0.1: {kind: gitlab, url: 'http://127.0.0.1:3000/api/v4', token: secret:f}\n"
    )
    assert written(tmp_path, text) == {
        "github.com": ForgeAccess("github"),
        "git.example.org": ForgeAccess("f", ForgeKind.FORGEJO, "https://git.example.org/api/v1"),
        "127.0.0.1": ForgeAccess("f", ForgeKind.GITLAB, "http://127.0.0.1:3000/api/v4"),
    }
    assert written(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{token: ghp_itself}", "pancode config secret"),
        ("{kind: github}", "token"),
        ("{token: secret:f, kind: svn}", "github"),
        ("{token: secret:f, url: 'http://git.example.org/api/v1'}", "https"),
        ("{token: secret:f, url: 'http://10.0.0.7/api/v1'}", "https"),
        ("{token: secret:f, url: 'https://ana:pw@git.example.org/'}", "the URL of an API must have"),
        ("{token: secret:f, url: 'https://git.example.org/?token=x'}", "the URL of an API must have"),
        ("{token: secret:f, url: 'ftp://127.0.0.1/'}", "https"),
        ("{token: secret:f, port: 3}", "port"),
    ],
)
def test_bad_settings_name_their_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        written(tmp_path, f"forge:\n  git.example.org: {line}\n")
    told = f"{caught.value} {caught.value.why} {caught.value.fix}"
    assert words in told and "pancode.yaml:2" in told, told
    assert "ghp_itself" not in told and ":pw@" not in told


def test_a_repository_may_not_set_them(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "pancode.yaml").write_text("forge: {github.com: {token: secret:github}}\n")
    with pytest.raises(ConfigError, match="a repository may not set"):
        load(ConfigPlaces(tmp_path, repository, tmp_path / "none"), {})
