"""In a home into which a restore has not ended, each command is refused and changes nothing."""

from __future__ import annotations

import json

import pytest

from pancode.kernel.unfinished_restore import MARK, RESTORING
from tests.integration.faces.conftest import Shell


@pytest.mark.parametrize(
    "words", ["runs", "fleet up", "web", "serve --background", "config set budget.day 5", "skills ls"]
)
def test_it_is_refused_with_the_command_that_continues_the_restore(pancode: Shell, words: str) -> None:
    mark = pancode.home / RESTORING / MARK
    mark.parent.mkdir(parents=True)
    mark.write_text(json.dumps({"command": "pancode admin restore --from box"}))
    refused = pancode(*words.split())
    assert refused.status == 3 and f"a restore into {pancode.home} has not ended" in refused.err, refused
    assert "continue it: pancode admin restore --from box; or give it up" in refused.err
    assert {*pancode.home.rglob("*")} == {mark.parent, mark}
