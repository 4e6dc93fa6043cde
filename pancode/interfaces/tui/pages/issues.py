"""Pages of issues: what is worked on here, the projects that have a tracker, and a project's open issues."""

from __future__ import annotations

from pancode.interfaces.tui.page import Json, Page, PageMoment, PagePlace, PageRow


def draw_issues(answers: Json, about: str, moment: PageMoment) -> Page:
    """What is worked on, then the trackers; Enter on a tracker asks it for its open issues."""
    works = tuple(_work(one, moment) for one in answers["works"]["works"])
    tracked = [one for one in answers["projects"]["projects"] if one["tracker"]]
    rows = tuple(
        PageRow(
            one["name"], "project",
            ("open ones", one["name"], "", "", "", f"Enter asks {one['tracker']}"), one,
            PagePlace("open", one["name"]),
        )
        for one in tracked
    )  # fmt: skip
    head = ("ISSUE", "PROJECT", "STATE", "RUN", "SINCE", "TITLE")
    empty = "no project has a tracker: pancode project add . --tracker github:OWNER/REPO"
    return Page((), head, (*works, *rows), ("SINCE", "PROJECT"), "TITLE", empty)


def _work(one: Json, moment: PageMoment) -> PageRow:
    said = one["trouble"] or one["title"]
    cells = (one["issue"], one["project"], one["run_state"] or one["state"] or "waiting", one["run"] or "")
    enters = PagePlace("run", one["run"]) if one["run"] else None
    return PageRow(one["issue"], "work", (*cells, moment.ago(one["began_at"]), said), one, enters)


def open_issues(answers: Json, about: str, moment: PageMoment) -> Page:
    """The open issues of one project, as its tracker told them when the page was opened."""
    runs = {one["issue"]: one["run"] for one in answers["works"]["works"]}
    rows = tuple(
        PageRow(
            one["issue"], "issue",
            (
                one["issue"], one["state"], runs.get(one["issue"]) or "", ", ".join(one["labels"]),
                ", ".join(one["assignees"]), one["title"],
            ),
            one, PagePlace("run", runs[one["issue"]]) if runs.get(one["issue"]) else None,
        )
        for one in answers["issues"]["issues"]
    )  # fmt: skip
    head = ("ISSUE", "STATE", "RUN", "LABELS", "FOR", "TITLE")
    return Page((), head, rows, ("FOR", "LABELS"), "TITLE", f"no issue of {about} is open")
