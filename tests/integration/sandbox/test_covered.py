"""What path rules name is out of a hostile program's reach inside the sandbox, for root's node
and a user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.sandbox.covers import Ground as CoverGround
from node_agent.sandbox.covers import covers_of
from node_agent.sandbox.policy import View
from node_agent.wire.policy import PathAccess, PathRule
from tests.integration.sandbox.ground import Ground, ground

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="not root")
FILES = {"conf/prod.yaml": "fixed", **dict.fromkeys(("top.key", "conf/.env", "vault/in/x"), "t0ps3cret")}
RULES = (
    PathRule(pattern="*.key", access=PathAccess.NONE),
    PathRule(pattern=".env", access=PathAccess.NONE),
    PathRule(pattern="./vault", access=PathAccess.NONE),
    PathRule(pattern="conf/prod.yaml", access=PathAccess.READ),
)
ATTACK = """
for way in top.key conf/.env vault/in/x link; do cat $way; cp $way out; ln $way hard; head -c9 < $way; done
chmod -R 777 top.key conf/.env vault; ls -R vault; cat top.key conf/.env
mv conf conf2 && cat conf2/.env; mv conf2 conf
mv top.key moved && cat moved; rm -f top.key conf/.env; cat top.key conf/.env
umount vault top.key; unshare -rm sh -c 'umount vault; cat vault/in/x'
tar cf - . | tr -d '\\0'; grep -r t0ps3cret . ; cp -r . /tmp/copy; grep -r t0ps3cret /tmp/copy
echo mine > vault/new; echo mine > top.key
echo changed > conf/prod.yaml; rm -f conf/prod.yaml; mv conf/prod.yaml x; echo changed | tee conf/prod.yaml
echo x > new && mv new conf/prod.yaml; chmod 777 conf/prod.yaml
echo done > ok.txt
"""


@pytest.fixture(params=[True, False], ids=["root", "user"])
def place(request: pytest.FixtureRequest) -> Iterator[Ground]:
    with ground(request.param) as made:
        for name, text in FILES.items():
            _write(made.tree / name, text, owner=(made.tree / ".git").stat().st_uid)
        (made.tree / "link").symlink_to("vault/in/x")
        yield made


def _write(path: Path, text: str, owner: int) -> None:
    for folder in (path.parent.parent, path.parent):
        if not folder.exists():
            folder.mkdir()
            os.chown(folder, owner, owner)
    path.write_text(text)
    os.chown(path, owner, owner)


def covered(place: Ground, **more: object) -> View:
    view = place.view(**more)  # type: ignore[arg-type]
    return replace(view, covers=covers_of(RULES, CoverGround(view.tree), view.writable))


def test_nothing_hidden_is_read_and_nothing_kept_is_changed(place: Ground) -> None:
    done = place.run(covered(place), "sh", "-c", ATTACK)
    assert (place.tree / "ok.txt").read_text() == "done\n", done.stderr
    assert "t0ps3cret" not in done.stdout + done.stderr
    assert {name: (place.tree / name).read_text() for name in FILES} == FILES
    assert sorted(os.listdir(place.tree / "vault")) == ["in"]


def test_what_may_be_read_still_is(place: Ground) -> None:
    assert place.run(covered(place), "cat", "conf/prod.yaml").stdout == "fixed"


def test_a_read_only_checkout_hides_as_well(place: Ground) -> None:
    done = place.run(covered(place, writable=False), "sh", "-c", ATTACK)
    assert "t0ps3cret" not in done.stdout + done.stderr and "fixed" in done.stdout
