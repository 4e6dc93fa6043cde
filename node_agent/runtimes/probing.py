"""Reads an agent program's version, and whether anything logs it in, into one fact."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.wire.node import RuntimeFact

Said = tuple[int | None, str]
"""Exit status (None: it could not be run) and standard output of one probe."""


@dataclass(frozen=True, slots=True)
class Program:
    """An agent program as an npm package, or what is in a Python environment that a link on PATH leads into.

    `version`: what `--version` prints, its number as group 1; the number alone fits, too. `known`: how the
    numbers begin that the parser was measured with. `login`: what to do where nothing logs it in. `lowest`:
    the first that knows all our flags (measured). `node`: the Node.js that its package asks for.
    """

    name: str
    package: str
    version: str
    known: str
    login: str
    lowest: str = ""
    node: int = 0
    environment: bool = False
    """A package of pip in an environment of its own; the link to that one's Python has the runtime's name."""

    @property
    def install(self) -> str:
        """The command that brings it."""
        return self._installed(self.package, "" if self.environment else "latest")

    def _installed(self, package: str, version: str = "") -> str:
        if not self.environment:
            needs = f" (its package asks for Node.js {self.node})" if self.node else ""
            return f"npm install -g --prefix ~/.local {package}@{version}{needs}"
        at = f"~/.local/share/pancode/{self.name}"
        pip = f"{at}/bin/pip install '{package}=={version or self.known}*'"
        return f"python3 -m venv {at} && {pip} && ln -sf {at}/bin/python ~/.local/bin/{self.name}"

    @property
    def asks_version(self) -> tuple[str, ...]:
        """The argument list to which it answers with its version."""
        return self.name, "--version"

    def fact(self, output: Said, logged_in: bool) -> RuntimeFact:
        """From `--version` and the login. A version that nobody measured runs, with a warning."""
        status, text = output
        if status != 0:
            return RuntimeFact(name=self.name, state="missing", fix=self.install)
        found = re.match(self.version, text.strip())
        if not found:
            return RuntimeFact(name=self.name, state="unknown_version", fix=self.install)
        if self._is_old(found[1]):
            words = f"{found[1]} lacks flags that {self.lowest} has: {self.install}"
            return RuntimeFact(name=self.name, version=found[1], state="too_old", fix=words)
        if not logged_in:
            return RuntimeFact(name=self.name, version=found[1], state="not_logged_in", fix=self.login)
        return RuntimeFact(name=self.name, version=found[1], state="ok", fix=self._warning(found[1]))

    def _is_old(self, version: str) -> bool:
        return bool(self.lowest) and _numbers(version) < _numbers(self.lowest)

    def _warning(self, version: str) -> str:
        if version.startswith(self.known):
            return ""
        other = self._installed(self.package, self.known if self.environment else f"{self.known}x")
        return f"PanCode was measured with {self.known}x; if runs end as infra: {other}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def any_given(names: Sequence[str]) -> tuple[str, ...]:
    """The argument list that ends with 0 when one of these variables is set, and prints none of them."""
    return ("sh", "-c", f'test -n "{"".join(f"${{{name}}}" for name in names)}"')
