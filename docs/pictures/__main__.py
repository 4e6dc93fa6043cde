"""`python -m docs.pictures` draws what was recorded; with `record` it is recorded anew before that."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.pictures.draw import draw
from docs.pictures.record import record
from docs.pictures.scenes import SCENES

HERE = Path(__file__).resolve().parent
USER = "[user]\n\tname = Ada\n\temail = ada@example.org\n"


def main() -> None:
    if sys.argv[1:] == ["record"]:
        for name, shown in _recorded().items():
            (HERE / f"{name}.ansi").write_text(shown, encoding="utf-8")
    for name, scene in SCENES.items():
        shown = (HERE / f"{name}.ansi").read_text(encoding="utf-8")
        (HERE / f"{name}.svg").write_text(draw(scene.title, shown), encoding="utf-8")


def _recorded() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        (Path(folder) / ".gitconfig").write_text(USER)
        environ = {"PATH": path, "LANG": "C.UTF-8", "USER": "ada"}
        try:
            return record(Path(folder), environ)
        finally:
            words = ["pancode", "fleet", "down", "--now"]
            subprocess.run(words, env={**environ, "HOME": folder}, capture_output=True, check=False)


if __name__ == "__main__":
    main()
