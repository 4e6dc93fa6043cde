"""Provides the user's current configuration and folders; unchanged files are not read again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from node_agent.policy.rulefile import FILES, RuleError, merge_rules, read_rules
from node_agent.wire.policy import BUILT_IN, NO_RULES, PathAccess, PathRule, Rules
from pancode.agents.agents import Agents
from pancode.agents.presets import Presets
from pancode.agents.tiers import ModelTier
from pancode.config.agents.definitions import FILE as AGENTS_FILE
from pancode.config.agents.definitions import LoadedAgents, load_agents, prompt_files
from pancode.config.agents.presets import APPLIED, load_presets, read_applied
from pancode.config.agents.presets import FILE as PRESETS_FILE
from pancode.config.copied_files import must_be_agreed, read_copied
from pancode.config.layers import CHOSEN
from pancode.config.load import FILE, MACHINE_FILE, ConfigPlaces, Loaded, load
from pancode.config.projects import address_of, is_in_snapshot, prd_of
from pancode.git.repository import find_top
from pancode.kernel.documents import Document, read_document
from pancode.kernel.errors import ConfigError
from pancode.kernel.names import is_readme
from pancode.kernel.rows import NO_SKILLS, GivenSkills
from pancode.kernel.values import replace
from pancode.runs.admission.request_rules import find_path_like_words, is_inside, is_rooted, resolve_path
from pancode.runs.project_rules import NamedProject
from pancode.runs.request import Defaults, PathFact, Project
from pancode.runs.user_environment import SettingSaid

OWN_RULES = Rules(
    paths=tuple(
        PathRule(
            pattern=f"./{name}",
            access=PathAccess.READ,
            reason="only users may change the safety rules",
            origin=BUILT_IN,
        )
        for name in FILES
    )
)
"""Rules that keep runs from writing rule files: a run that could edit them could loosen the next run's
rules."""


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """All rules in force; a file with several meanings counts with the strictest. `files`: the files read."""

    rules: Rules
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def rule_files(folder: Path) -> tuple[Path, ...]:
    """Return the existing rule files; only the first is used. A dangling link counts as a file."""
    return tuple(folder / name for name in FILES if os.path.lexists(os.path.join(folder, name)))


def load_rules(home: Path, project: Path | None) -> LoadedRules:
    """Return all rules. ConfigError names file, line and rule; an invalid rule is never skipped."""
    several, files, warnings = [OWN_RULES], list[str](), list[str]()
    for whose, folder in (("your", home), ("project", project)):
        there = rule_files(folder) if folder is not None else ()
        if not there:
            continue
        several.append(_rules_of(there[0], whose))
        files.append(str(there[0]))
        warnings += [
            f"{other} is not read: {there[0].name} in the same folder takes precedence" for other in there[1:]
        ]
    try:
        rules = merge_rules(*several)
    except RuleError as wrong:
        raise ConfigError(f"{' and '.join(files)}: {wrong}", why=wrong.why, fix=wrong.fix) from wrong
    return LoadedRules(rules, tuple(files), tuple(warnings))


def _rules_of(path: Path, whose: str) -> Rules:
    document = read_document(path)
    if document is None:
        raise ConfigError(f"cannot read {path}", why="it is a link to a missing file", fix=f"ls -l {path}")
    try:
        return (
            read_rules(document.data, lambda at: _shorten_origin(document, at, whose))
            if document.data
            else NO_RULES
        )
    except RuleError as wrong:
        named = f" {wrong.path}:" if wrong.path else ""
        raise ConfigError(
            f"{document.at(wrong.path)}:{named} {wrong}", why=wrong.why, fix=wrong.fix
        ) from wrong


def _shorten_origin(document: Document, at: str, whose: str) -> str:
    """Return a rule's origin without the folder, as nodes need not know the coordinator's paths."""
    return f"{whose} {os.path.basename(document.place)}{document.at(at).removeprefix(document.place)}"


GUIDE, MOST_GUIDE = "AGENTS.md", 32 << 10
"""The instruction file of a repository, and how many of its bytes nodes pass to the agent."""
Stamp = tuple[tuple[int, int, int] | None, ...]


FindSkills = Callable[[Path, Path | None, tuple[str, ...]], GivenSkills]
"""Returns the skills with these names; PanCode's home comes before the project whose top folder is given."""


SealFiles = Callable[[Mapping[str, bytes]], str]
"""Seals files, by path, for the coordinator."""


def find_none(home: Path, top: Path | None, names: tuple[str, ...]) -> GivenSkills:
    """Return no skills: for callers whose runs get none."""
    return NO_SKILLS


class FileSurroundings:
    """Reads the files of this machine, of `home` and of a project; thread-safe. Never writes. Every method
    that reads settings raises ConfigError with file and line."""

    def __init__(
        self,
        home: Path,
        environ: Mapping[str, str],
        callers: Mapping[str, object] | None = None,
        machine: Path = MACHINE_FILE,
        preset: str | None = None,
        find_skills: FindSkills = find_none,
        seal: SealFiles | None = None,
    ) -> None:
        """`seal`: seals the copies of ignored files for a run; None: these settings dispatch no run."""
        self._find_skills, self._seal = find_skills, seal
        self._places = ConfigPlaces(home, None, machine)
        self._environ = dict(environ)
        self._callers = dict(callers or {})
        self._preset = preset
        self._watched: dict[str | None, tuple[ConfigPlaces, list[str]]] = {}
        self._settings: dict[str | None, tuple[Stamp, Loaded]] = {}
        self._defaults: dict[str | None, tuple[Loaded, Defaults]] = {}
        self._agents: dict[str | None, tuple[object, LoadedAgents]] = {}
        self._rules: dict[str | None, tuple[object, LoadedRules]] = {}

    def loaded(self, project: str | None = None) -> Loaded:
        """Return all settings for a project, or for the fleet if None."""
        places, files = self._list_files(project)
        now = _stamp(files)
        known = self._settings.get(project)
        if known is None or known[0] != now:
            known = (now, load(places, self._environ, self._callers, self._preset))
            self._settings[project] = known
        return known[1]

    def _list_files(self, project: str | None) -> tuple[ConfigPlaces, list[str]]:
        """Return the files that settings are read from, found in one search, since every dispatch checks them
        all."""
        known = self._watched.get(project)
        if known is None:
            places = replace(self._places, project=Path(project) if project is not None else None)
            files = [places.machine, places.home / FILE, *([places.project / FILE] if places.project else [])]
            files += [places.home / one for one in (CHOSEN, PRESETS_FILE, APPLIED)]
            # this file contains the address of the remote; a folder shows new files with nearly a right name
            files += [places.project / ".git" / "config", places.project] if places.project else []
            files.append(places.home)
            known = self._watched[project] = places, list(map(str, files))
        return known

    def projects(self) -> dict[str, NamedProject]:
        """Return all projects by name."""
        found = self.loaded().settings.projects
        return {name: found[name].named(name) for name in sorted(found)}

    def address_of(self, project: str) -> str:
        """Return the address of the repository's remote, without login and scheme; empty if there is none."""
        return address_of(project)

    def prd(self, project: str, named: str) -> str:
        """Return the path of the PRD, the file that describes what the repository is to become; empty: no
        PRD."""
        return prd_of(project, named)

    def prd_for_agents(self, project: str) -> str:
        """Return the path of the PRD if agents may see it: it is in the snapshot, and is not merely a
        README."""
        known = self.loaded(project).project
        found = "" if known is None else prd_of(project, known.prd)
        only_readme = known is not None and is_readme(found) and found != known.prd
        return found if found and not only_readme and is_in_snapshot(project, found) else ""

    def agents(self, project: str | None) -> Agents:
        """Return the shipped and the user's agents. A repository cannot define any, since it is not the
        owner."""
        loaded = self.loaded(project)
        home = self._places.home
        files = [os.path.join(home, AGENTS_FILE), *map(str, prompt_files(home))]
        now = (files, _stamp(files), self._settings[project][0])
        known = self._agents.get(project)
        if known is None or known[0] != now:
            known = (now, load_agents(home, loaded.settings, self._environ))
            self._agents[project] = known
        return known[1].agents

    def defaults(self, project: str | None) -> Defaults:
        """Return the settings that a request may omit."""
        loaded, known = self.loaded(project), self._defaults.get(project)
        if known is None or known[0] is not loaded:
            known = self._defaults[project] = loaded, loaded.defaults()
        return known[1]

    def presets(self) -> Presets:
        """Return the shipped presets and the user's."""
        return load_presets(self._places.home)

    def applied(self) -> str | None:
        """Return the name of the applied preset."""
        return read_applied(self._places.home)

    def project(self, project: str | None) -> Project:
        """Return the repository's own pancode.yaml, without the content of its copies."""
        loaded = self.loaded(project).settings.project()
        return loaded if project is None else replace(loaded, guide_chars=_guide_chars(Path(project)))

    def seal_copied(self, project: str) -> str:
        """Return the ignored files that the project's pancode.yaml names in `copy`, sealed; empty: there are
        none. RefusedError if the owner has not agreed, ConfigError if a file cannot be copied."""
        loaded, top = self.loaded(project).settings.project(), Path(project)
        if not loaded.copies or self._seal is None:
            return ""
        must_be_agreed(self._places.home, top, loaded.copies)
        return self._seal(read_copied(top, loaded.copies, loaded.cache))

    def loaded_rules(self, project: str | None) -> LoadedRules:
        """Return the safety rules for a project, or (None) without one, and the files that they come from."""
        home, top = self._places.home, Path(project) if project is not None else None
        files = list(map(str, (*rule_files(home), *(rule_files(top) if top is not None else ()))))
        now = (files, _stamp(files))
        known = self._rules.get(project)
        if known is None or known[0] != now:
            known = (now, load_rules(home, top))
            self._rules[project] = known
        return known[1]

    def rules(self, project: str | None) -> Rules:
        """Return the safety rules in force for a project; None: those without a project."""
        return self.loaded_rules(project).rules

    def skills(self, project: str | None, names: tuple[str, ...]) -> GivenSkills:
        """Return the skills of these names for a run. A folder of the project that is a link is ignored."""
        counts = project is not None and self.loaded(project).settings.skills.project
        top = Path(project) if counts and project is not None else None
        return self._find_skills(self._places.home, top, names)

    def tiers(self, project: str | None) -> dict[str, ModelTier]:
        """Return the owner's corrections of model tiers."""
        return self.loaded(project).settings.models.tiers

    def max_depth(self) -> int:
        """Return the maximum depth of runs inside runs."""
        return self.loaded().settings.dispatch.max_depth

    def origins(self, project: str | None) -> dict[str, SettingSaid]:
        """Return every setting's value and origin, by key."""
        return {key: SettingSaid(value, origin) for key, value, origin in self.loaded(project).rows()}

    def warnings(self, project: str | None) -> tuple[str, ...]:
        """Return the warnings about settings, such as those that have no effect."""
        return self.loaded(project).warnings

    def project_of(self, folder: str) -> str | None:
        """Return the top of the git repository that contains the folder, links resolved; None if there is
        none."""
        return find_top(folder)

    def below(self, folder: str, project: str) -> str:
        """Return the folder relative to the project's top, links resolved; empty at the top and outside the
        project."""
        here, top = os.path.realpath(os.path.expanduser(folder)), os.path.realpath(project)
        return os.path.relpath(here, top) if here != top and is_inside(here, top) else ""

    def list_unread(self, project: str, folder: str) -> tuple[str, ...]:
        """Return a warning for each settings file in that folder or above it, but below the top."""
        places = [Path(folder), *Path(folder).parents][:-1] if folder else []
        found = [place / FILE for place in places if (Path(project) / place / FILE).is_file()]
        return tuple(
            f"{path} is not read: its gates and set-up do not apply. Fix: move its settings to {FILE} at the "
            f"top of the repository, with commands such as: cd {path.parent} && ..."
            for path in found
        )

    def paths(self, task: str, cwd: str | None, project: str | None) -> tuple[PathFact, ...]:
        """Return facts about each path that the task names; empty without a project."""
        if project is None:
            return ()
        home = self._environ.get("HOME") or str(Path.home())
        here = cwd or project

        def there(word: str) -> bool:
            return any(os.path.lexists(resolve_path(word, place, home)) for place in (here, project))

        facts = (_find_path(word, here, project, home) for word in find_path_like_words(task, there))
        return tuple(fact for fact in facts if fact is not None)


def _find_path(word: str, cwd: str, project: str, home: str) -> PathFact | None:
    """Return facts about the path; None for a web route: an absolute path in no existing folder."""
    path = resolve_path(word, cwd, home)
    if not os.path.lexists(path) and os.path.lexists(resolve_path(word, project, home)):
        path = resolve_path(word, project, home)  # relative to the top of the project
    exists = os.path.lexists(path)
    if word.startswith("/") and not exists and not is_rooted(word):
        return None
    real = os.path.realpath(path)
    return PathFact(word, real, is_inside(real, os.path.realpath(project)), exists)


def _guide_chars(project: Path) -> int:
    """Return how many bytes of the project's instruction file a run gets."""
    try:
        return min((project / GUIDE).stat().st_size, MOST_GUIDE)
    except OSError:
        return 0


def _stamp(files: list[str]) -> Stamp:
    """Return a stamp that changes whenever a file is created, replaced, written or removed."""
    return tuple(_stat_file(path) for path in files)


def _stat_file(path: str) -> tuple[int, int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return (state.st_mtime_ns, state.st_size, state.st_ino)
