"""Whether a login can be opened on a machine, as far as it was heard."""

from __future__ import annotations

import pytest

from pancode.agents.tiers import check_login
from pancode.kernel.errors import NotFoundError

NODE = {
    "name": "gpubox",
    "runtimes": [
        {"name": "claude", "state": "not_logged_in", "fix": "", "says": "gpubox says: log in"},
        {"name": "codex", "state": "missing", "says": "gpubox says: npm install -g @openai/codex"},
    ],
}


def test_one_that_is_there_and_one_that_was_not_heard_of_are_asked() -> None:
    check_login(NODE, "claude")
    check_login(NODE, "gemini")
    check_login({"name": "gpubox", "runtimes": []}, "codex")


def test_what_is_missing_is_said_with_the_fix_on_that_machine() -> None:
    with pytest.raises(NotFoundError, check=lambda error: error.code == "runtime_missing") as caught:
        check_login(NODE, "codex")
    assert "@openai/codex" in caught.value.why
    assert caught.value.fix == "pancode node install gpubox codex"


@pytest.mark.parametrize("name", ["cluade", "nativ", ""])
def test_what_is_no_runtime(name: str) -> None:
    with pytest.raises(NotFoundError, check=lambda error: error.code == "runtime_not_found"):
        check_login(NODE, name)
