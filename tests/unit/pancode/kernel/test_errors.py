"""What users read of an exception of Python's."""

from __future__ import annotations

import json

import pytest

from pancode.kernel.errors import ConflictError, ExitCode, UsageError, describe_cause


def test_no_number_and_no_name_of_an_exception_reaches_a_user() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open("/nonexistent/x").close()
    assert UsageError("cannot read", why=str(caught.value)).why.startswith("No such file or directory")
    assert UsageError(f"lost ({caught.value}); waiting").args == (
        "lost (No such file or directory: '/nonexistent/x'); waiting",
    )
    assert describe_cause(KeyError("keys")) == "'keys' is missing"
    assert (
        describe_cause(AttributeError("'str' object has no attribute 'get'"))
        == "a part of it has another type"
    )
    with pytest.raises(json.JSONDecodeError) as wrong:
        json.loads("x")
    assert describe_cause(wrong.value) == "line 1 is not valid JSON"
    assert describe_cause(ValueError("no colon")) == "no colon"
    assert describe_cause(TimeoutError()) == "TimeoutError", "a cause without words has at least a name"


def test_a_collision_is_no_bug() -> None:
    assert ConflictError("lane night already exists").exit_code is ExitCode.USAGE
