"""`pancode models test`: tests what a local model can do for a coding agent."""

from __future__ import annotations

import os
from typing import Annotated, Any

from typer import Argument

from pancode.cli.face import Face, who
from pancode.cli.output.render import advice, safe, short_time
from pancode.cli.output.snapshot_progress import Snapshots
from pancode.cli.output.tables import table
from pancode.cli.parsing import completions
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, option
from pancode.client import ApiError, Client
from pancode.errors import ExitCode, UnavailableError

app = Commands()

MODEL_UNTESTED = "model_untested"
"""The coordinator's code for a refusal that a passport resolves."""


@app.verb(
    "test", "pancode models test qwen3-coder:30b", "pancode models test gpubox/ollama/qwen3-coder:30b --again"
)
def test_model(
    model: Annotated[str, Argument(autocompletion=completions.models)],
    *,
    node: Annotated[
        str | None, option("Test only on this machine (default: on each machine that has the model).", "N")
    ] = None,
    again: Annotated[bool, option("Test again a model that was tested already.", "--again")] = False,
    face: Json,
) -> int:
    """Test a local MODEL: does it answer, read long prompts, call tools, edit files; and how fast.

    It asks the model, up to 60 s; one that is not loaded is loaded for it, which may take minutes. The
    first dispatch to a model does this by itself where it is free. Exit code 5 when a check failed.
    """
    tests = tested(face, face.client(), {"model": model, "node": node, "again": again})
    face.show({"tests": tests}, lambda: "".join(_shown(one) for one in tests))
    return _exit(tests)


def tested(face: Face, client: Client, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Have it tested, with each step as it happens. UnavailableError, NotFoundError."""
    try:
        for event in client.events("POST", "/v1/models/test", {"by": who(), **asked}):
            if event.kind == "progress":
                face.note(f"  {safe(event.data['text'])}")
            elif event.kind == "result":
                tests: list[dict[str, Any]] = event.data["tests"]
                return tests
    except KeyboardInterrupt:
        face.note("\nthe test goes on without you; its result: pancode models")
        raise
    raise UnavailableError("the coordinator went away in the middle", fix="the same command again")


def admitted(face: Face, client: Client, path: str, body: dict[str, Any]) -> Any:
    """The coordinator's answer after each model that needs a passport has been tested. ApiError.

    A model that fails takes its node out; where there is another one, that one's turn comes.
    """
    seen: set[str] = set()
    while True:
        try:
            return client.post_work(path, body, Snapshots(face, str(body.get("cwd") or "")).show)
        except ApiError as refused:
            place = _place(refused)
            if place is None or place in seen:
                raise
        seen.add(place)
        node, _, _ = place.partition("/")
        (one,) = tested(face, client, {"model": place, "node": node})
        unless_tested(one)


def _place(refused: ApiError) -> str | None:
    """Of the model that wants a test, as `models test` takes it."""
    if refused.code != MODEL_UNTESTED or os.environ.get("PANCODE_RUN"):
        return None
    parts = [refused.details.get(name, "") for name in ("node", "endpoint", "model")]
    return "/".join(parts) if all(parts) else None


def unless_tested(one: dict[str, Any]) -> None:
    """UnavailableError for a test that found nothing out."""
    if one["passed"] is None:
        raise UnavailableError(
            f"{one['model']} on {one['node']} could not be tested: {one['words']}",
            fix=one["fix"] or f"pancode models test {one['node']}/{one['endpoint']}/{one['model']}",
            code="not_tested",
        )


def _exit(tests: list[dict[str, Any]]) -> int:
    """Failed checks count before tests that could not be made."""
    if any(one["passed"] is False for one in tests):
        return ExitCode.REFUSED
    return ExitCode.UNAVAILABLE if any(one["passed"] is None for one in tests) else ExitCode.DONE


def _shown(one: dict[str, Any]) -> str:
    head = f"{one['node']}/{one['endpoint']}/{one['model']}: "
    if one["passed"] is None:
        fix = f"  fix: {one['fix']}\n" if one["fix"] else ""
        return f"{head}could not be tested: {one['words']}\n{fix}"
    speed = f", {one['tok_s']} tokens/s" if one["tok_s"] is not None else ""
    rows = [(check["check"], check["grade"], check["words"]) for check in one["checks"]]
    fixes = [f"  {hint}\n" for check in one["checks"] if (hint := advice(check))]
    verdict = f"{'passed' if one['passed'] else 'FAILED'}{speed}{_when(one)}\n"
    return head + verdict + table(("CHECK", "GRADE", "WORDS"), rows, toned=("GRADE",)) + "".join(fixes)


def _when(one: dict[str, Any]) -> str:
    return f" at {short_time(one['taken_at'])}; not tested again now (--again does)" if one["earlier"] else ""
