"""What the doctor says where the coordinator answers with a problem."""

from __future__ import annotations

import json

from pancode.client import answer_in
from pancode.errors import ConfigError
from pancode.offline.doctor import notices


def test_a_problem_is_no_answer_to_what_was_asked() -> None:
    """With broken settings the coordinator says that, and the doctor took it for the notices."""
    wrong = ConfigError("pancode.yaml:2: no list ends here").problem()
    problem = json.dumps({"code": wrong.code, "message": wrong.message}).encode()
    assert answer_in(422, problem) is None and answer_in(200, b"[]") is None
    assert answer_in(200, b'{"pid": 7}') == {"pid": 7}
    told = notices(True, answer_in(422, problem))
    assert told["ok"] and told["detail"] == "not known: the coordinator does not say"
    assert notices(False, None)["detail"] == "not known: no coordinator runs"
    assert notices(True, {"troubles": [], "channels": [1]})["detail"] == "1 channels, nothing failed"
    assert not notices(True, {"troubles": ["mail: refused"], "channels": [1]})["ok"]
