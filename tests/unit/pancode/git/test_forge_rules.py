"""Which forge a remote belongs to, and what is said of one that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancode.git.forge_rules import (
    ForgeAccess,
    ForgeKind,
    RemoteRepository,
    behind_alias,
    place_of,
    repository_of,
    ssh_host_of,
)
from pancode.kernel.errors import ConfigError, PancodeError, UsageError

REPOSITORY = RemoteRepository("github.com", "o", "r")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/o/r.git",
        "https://github.com/o/r",
        "https://github.com/o/r/",
        "https://ana:ghp_password@GitHub.com/o/r.git",
        "http://github.com:8080/o/r.git",
        "git@github.com:o/r.git",
        "github.com:o/r",
        "ana@github.com:/o/r.git",
        "ssh://git@github.com/o/r.git",
        "ssh://git@ssh.github.com:443/o/r.git",
        "git://github.com/o/r.git",
        " https://github.com/o/r.git ",
    ],
)
def test_a_remote_is_read_without_its_login(url: str) -> None:
    assert repository_of(url) == REPOSITORY


def test_subgroups_and_ports() -> None:
    deep = repository_of("git@gitlab.com:group/sub/group/r.git")
    assert (deep.owner, deep.name, deep.path) == ("group/sub/group", "r", "group/sub/group/r")
    assert repository_of("https://git.example.org:8443/o/r.git").port == 8443
    assert repository_of("ssh://git@git.example.org:2222/o/r.git").port is None
    assert repository_of("git@[fd00::1]:o/r.git").host == "fd00::1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/home/ana/r.git",
        "../r.git",
        "file:///home/ana/r.git",
        "https://github.com/r.git",
        "https://github.com",
        "https://github.com/o/../r.git",
        "https://github.com/o/%2e%2e/r.git",
        "https://github.com/o//r.git",
        "https://github.com/o/r%0ax.git",
        "https://github.com:port/o/r.git",
        "https://[github.com/o/r.git",
        "ext::sh -c true",
        "C:\\ana\\r.git",
    ],
)
def test_what_is_no_repository_of_a_forge(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        repository_of(url)
    assert caught.value.code == "no_forge"


@given(st.text(max_size=60))
def test_any_address_is_read_or_refused(url: str) -> None:
    try:
        found = repository_of(url)
    except UsageError as error:
        assert error.fix
    else:
        assert found.host and found.owner and found.name
        assert "@" not in found.host and ".." not in found.path.split("/")


@pytest.mark.parametrize(
    ("host", "kind", "api"),
    [
        ("github.com", None, "https://api.github.com"),
        ("gitlab.com", None, "https://gitlab.com/api/v4"),
        ("codeberg.org", None, "https://codeberg.org/api/v1"),
        ("corp.ghe.com", None, "https://api.corp.ghe.com"),
        ("git.example.org", ForgeKind.GITHUB, "https://git.example.org/api/v3"),
        ("git.example.org", ForgeKind.GITLAB, "https://git.example.org/api/v4"),
        ("git.example.org", ForgeKind.FORGEJO, "https://git.example.org/api/v1"),
    ],
)
def test_the_usual_place_of_an_api(host: str, kind: ForgeKind | None, api: str) -> None:
    hosts = {host: ForgeAccess("forge", kind)}
    assert place_of(RemoteRepository(host, "o", "r"), hosts).api == api


def test_settings_and_the_option_go_first() -> None:
    hosts = {"git.example.org": ForgeAccess("t", ForgeKind.GITLAB, "https://api.example.org/v1/")}
    there = RemoteRepository("git.example.org", "o", "r", 8443)
    place = place_of(there, hosts, ForgeKind.FORGEJO)
    assert (place.kind, place.api, place.token) == (ForgeKind.FORGEJO, "https://api.example.org/v1", "t")
    plain = place_of(there, {"git.example.org": ForgeAccess("t", ForgeKind.FORGEJO)})
    assert plain.api == "https://git.example.org:8443/api/v1"


@pytest.mark.parametrize(
    ("repository", "hosts", "kind", "code"),
    [
        (REPOSITORY, {}, None, "no_forge_token"),
        (REPOSITORY, {"evil.example": ForgeAccess("t")}, None, "no_forge_token"),
        (RemoteRepository("h", "o", "r"), {"h": ForgeAccess("t")}, None, "forge_kind"),
        (RemoteRepository("bitbucket.org", "o", "r"), {}, None, "forge_kind"),
        (RemoteRepository("ssh.dev.azure.com", "v3/org/proj", "app"), {}, None, "forge_kind"),
        (RemoteRepository("github.com", "o/p", "r"), {"github.com": ForgeAccess("t")}, None, "no_forge"),
    ],
)
def test_what_is_missing_is_named(
    repository: RemoteRepository, hosts: dict[str, ForgeAccess], kind: ForgeKind | None, code: str
) -> None:
    with pytest.raises(PancodeError) as caught:
        place_of(repository, hosts, kind)
    assert caught.value.code == code and caught.value.fix
    assert isinstance(caught.value, ConfigError if code == "no_forge_token" else UsageError)


def test_an_alias_has_the_forge_of_its_host_and_may_have_its_own_token() -> None:
    there = behind_alias(repository_of("git@github-work:o/r.git"), "github.com")
    assert (there.host, there.alias, there.path) == ("github.com", "github-work", "o/r")
    assert behind_alias(repository_of("git@github.com:o/r"), "ssh.github.com") == repository_of(
        "git@github.com:o/r"
    )
    hosts = {"github.com": ForgeAccess("home", url="http://proxy/api/")}
    place = place_of(there, hosts)
    assert (place.token, place.api, place.kind) == ("home", "http://proxy/api", ForgeKind.GITHUB)
    place = place_of(there, {**hosts, "github-work": ForgeAccess("work")})
    assert (place.token, place.api, place.kind) == ("work", "http://proxy/api", ForgeKind.GITHUB)
    assert place_of(there, {"github-work": ForgeAccess("work")}).api == "https://api.github.com"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("git@desk:o/r", "desk"),
        ("ssh://git@desk:22/o/r", "desk"),
        ("https://desk/o/r", ""),
        ("/srv/o/r", ""),
    ],
)
def test_the_host_that_ssh_is_given(url: str, host: str) -> None:
    assert ssh_host_of(url) == host


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://git.example.org/gitlab/team/app.git", "team/app"),
        ("https://git.example.org/gitlab/team/sub/app.git", "team/sub/app"),
        ("git@git.example.org:team/app.git", "team/app"),
        ("git@git.example.org:gitlab/app.git", "gitlab/app"),  # a group of that name, as SSH has no path
    ],
)
def test_a_forge_below_a_path_has_it_in_its_remotes_over_https(url: str, path: str) -> None:
    hosts = {"git.example.org": ForgeAccess("t", ForgeKind.GITLAB, "https://git.example.org/gitlab/api/v4")}
    assert place_of(repository_of(url), hosts).repository.path == path
