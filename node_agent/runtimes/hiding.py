"""Hides files outside of the run's home from a program on Node.js that offers no flag for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

GUARD = "guard.cjs"
_SOURCE = """\
const fs = require("fs");
const homes = [process.env.HOME, fs.realpathSync(process.env.HOME)].map((home) => `${home}/`);
const hidden = (path, names) =>
  names.some((name) => `${path}`.endsWith(`/${name}`)) && !homes.some((home) => `${path}`.startsWith(home));
const { existsSync } = fs, { access } = fs.promises;
fs.existsSync = (path) => !hidden(path, SETTINGS) && existsSync(path);
fs.promises.access = async (path, mode) => {
  if (hidden(path, WORDS)) throw Object.assign(new Error("ENOENT"), { code: "ENOENT" });
  return access(path, mode);
};
require("module").syncBuiltinESMExports();
delete process.env.NODE_OPTIONS;
"""


def guard(settings: Sequence[str], words: Sequence[str]) -> Mapping[str, bytes]:
    """The guard as a file of the home. `settings`: what is looked for at once; `words`: what is awaited."""
    source = _SOURCE.replace("SETTINGS", json.dumps(settings)).replace("WORDS", json.dumps(words))
    return {GUARD: source.encode()}


def guarded(home: str) -> dict[str, str]:
    """The variable by which the program takes the guard in; the guard takes it away from what it starts."""
    return {"NODE_OPTIONS": f"--require={json.dumps(f'{home}/{GUARD}')}"}
