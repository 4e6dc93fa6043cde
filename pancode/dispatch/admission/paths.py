"""Gate 6: whether the task stays inside the project; a path that is not there is a warning."""

from __future__ import annotations

from pancode.agents.request import AdmissionView
from pancode.dispatch.admission.gate import GateVerdict, passed, refused, warned
from pancode.dispatch.resolve import Resolution
from pancode.plain import first_few

NAME = "paths"
_SHOWN = 5


def judge(resolution: Resolution, view: AdmissionView) -> GateVerdict:
    if resolution.project is None and resolution.request.workspace is None:
        return warned(
            NAME,
            "no repository here: the run gets an empty folder",
            "go into the repository; for an empty folder: --workspace none",
        )
    if resolution.project is None:
        return passed(NAME, "no project: the run gets an empty folder")
    if resolution.runtime.own:
        return passed(NAME, "your own script: its words are not read as paths")
    outside = [fact for fact in view.paths if not fact.inside]
    if outside:
        words = _listed([fact.word for fact in outside])
        return refused(
            NAME,
            f"Dispatch blocked: {words} outside the project {resolution.project}",
            "name files inside the project, or dispatch from the repository that holds them",
            lifts="policy",
        )
    missing = [fact.word for fact in view.paths if not fact.exists]
    if missing:
        return warned(
            NAME, f"{_listed(missing)} not there", "fine when the run is to make it; else look for a typo"
        )
    return passed(
        NAME, f"{len(view.paths)} paths named, all inside the project" if view.paths else "no path named"
    )


def _listed(words: list[str]) -> str:
    return f"{first_few(words, _SHOWN)} {'is' if len(words) == 1 else 'are'}"
