"""A package of types whose parts come as they are asked for, and one that is more than a list."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.native.sparing import spare

LIST = "from __future__ import annotations\nfrom .a import A as A, B\nfrom . import b\n"
FILES = {
    "spared/__init__.py": LIST,
    "spared/a.py": "A, B = 1, 2\n",
    "spared/b.py": "from spared.a import A\n",
    "spared/inner/__init__.py": "from .c import C\n",
    "spared/inner/c.py": "C = 3\n",
    "spared/more/__init__.py": "from .d import D\nE = D + 1\n",
    "spared/more/d.py": "D = 4\n",
}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    spare("spared")
    yield
    for name in [one for one in sys.modules if one.partition(".")[0] == "spared"]:
        del sys.modules[name]


def there() -> set[str]:
    return {one for one in sys.modules if one.startswith("spared.")}


def test_a_part_is_loaded_when_a_name_of_it_is_asked_for() -> None:
    spared = importlib.import_module("spared")
    assert there() == set() and spared.__all__ == ["A", "B", "b"]
    assert (spared.A, spared.B) == (1, 2) and there() == {"spared.a"}
    assert spared.b.A == 1 and spared.inner.C == 3
    assert not hasattr(spared, "nothing") and not hasattr(spared, "__wrapped__")
    with pytest.raises(ImportError):
        exec("from spared import nothing", {})


def test_a_package_that_is_more_than_a_list_is_loaded_as_it_stands() -> None:
    more = importlib.import_module("spared.more")
    assert (more.D, more.E) == (4, 5) and "spared.more.d" in there()
