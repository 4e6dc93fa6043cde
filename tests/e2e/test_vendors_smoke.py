"""`make vendors-smoke` against a model server on loopback that stands for a vendor."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT
from tests.clis.launched import NATIVE
from tests.crowd import crowded
from tests.fakemodel import FakeModel

pytestmark = pytest.mark.slow


def smoke(url: str, key: str) -> subprocess.CompletedProcess[str]:
    model = NATIVE.model if NATIVE.model.startswith("openai/") else f"openai/{NATIVE.model}"
    environ = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": key, "MODELS": model}
    argv = [sys.executable, "-m", "tests.vendors_smoke"]
    return subprocess.run(
        argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=240 * crowded(), check=False
    )


def test_a_vendor_that_answers_is_told_from_one_that_does_not() -> None:
    """It takes more than 30 s: a fleet is made and taken away, twice."""
    server = FakeModel({"turns": [{"text": "ready", "usage": {"input": 10, "output": 1}}]})
    url = server.start().url
    try:
        done = smoke(f"{url}/v1", "sk-anything")
        assert done.returncode == 0 and "1 answered, 0 failed" in done.stdout, f"{done.stdout}{done.stderr}"
        assert done.stdout.startswith("ok "), done.stdout
    finally:
        server.stop()
    gone = smoke(f"{url}/v1", "sk-anything")
    assert gone.returncode == 1 and "FAILED" in gone.stdout and "sk-anything" not in gone.stdout, gone
