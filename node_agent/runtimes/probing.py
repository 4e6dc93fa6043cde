"""Reads what an agent program says of its version, and whether anything logs it in, into one fact."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.wire.node import RuntimeFact

Said = tuple[int | None, str]
"""Exit status (None: it could not be run) and standard output of one probe."""


@dataclass(frozen=True, slots=True)
class Program:
    """An agent program as an npm package.

    `version`: what `--version` prints, its number as group 1; the number alone fits, too. `known`: how the
    numbers begin that the parser was measured with. `login`: what to do where nothing logs it in.
    """

    name: str
    package: str
    version: str
    known: str
    login: str

    @property
    def asks_version(self) -> tuple[str, ...]:
        """The argument list to which it answers with its version."""
        return self.name, "--version"

    def fact(self, said: Said, logged_in: bool) -> RuntimeFact:
        """From `--version` and the login. A version that nobody measured runs, with a warning."""
        status, text = said
        install = f"npm install -g {self.package}"
        if status != 0:
            return RuntimeFact(name=self.name, state="missing", fix=install)
        found = re.match(self.version, text.strip())
        if not found:
            return RuntimeFact(name=self.name, state="unknown_version", fix=f"{install}@latest")
        if not logged_in:
            return RuntimeFact(name=self.name, version=found[1], state="not_logged_in", fix=self.login)
        return RuntimeFact(name=self.name, version=found[1], state="ok", fix=self._warning(found[1]))

    def _warning(self, version: str) -> str:
        if version.startswith(self.known):
            return ""
        other = f"npm install -g {self.package}@{self.known}x"
        return f"PanCode was measured with {self.known}x; if runs end as infra: {other}"


def any_given(names: Sequence[str]) -> tuple[str, ...]:
    """The argument list that ends with 0 when one of these variables is set, and prints none of them."""
    return ("sh", "-c", f'test -n "{"".join(f"${{{name}}}" for name in names)}"')
