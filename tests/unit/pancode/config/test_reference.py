"""reference.yaml is documentation, an example that validates, and complete."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from pancode.config.agents.definitions import shipped_text
from pancode.config.load import ConfigPlaces, load
from pancode.config.schema import OWN_OF_PROJECT, PROJECT_KEYS, Settings
from pancode.config.variables import PER_DISPATCH, VARIABLES
from pancode.kernel.documents import parse_document

TEXT = shipped_text("reference.yaml")


def paths(part: type[BaseModel], above: str = "") -> set[str]:
    found: set[str] = set()
    for field_name, field in part.model_fields.items():
        name = field.alias or field_name
        inner = field.annotation
        nested = isinstance(inner, type) and issubclass(inner, BaseModel)
        found |= paths(inner, f"{above}{name}.") if nested else {f"{above}{name}"}  # type: ignore[arg-type]
    return found


def test_it_holds_every_setting_with_its_default(tmp_path: Path) -> None:
    (tmp_path / "pancode.yaml").write_text(TEXT)
    assert load(ConfigPlaces(tmp_path, None, tmp_path / "none"), {}).settings == Settings()
    written = set(parse_document(TEXT, "reference.yaml").lines)
    assert paths(Settings) <= written
    assert len(paths(Settings)) > 30


def test_every_variable_is_written_beside_its_key() -> None:
    document = parse_document(TEXT, "reference.yaml")
    lines = TEXT.splitlines()
    for name, (path, _) in VARIABLES.items():
        assert name in lines[document.lines[path] - 1], f"{name} is not beside {path}"


def test_what_a_repository_may_set_is_marked() -> None:
    document = parse_document(TEXT, "reference.yaml")
    lines = TEXT.splitlines()
    marked = {path for path, line in document.lines.items() if "# repository" in lines[line - 1]}
    assert marked == set(PROJECT_KEYS) - set(OWN_OF_PROJECT)


def test_variables_that_count_for_one_command_exist() -> None:
    assert set(PER_DISPATCH) <= set(VARIABLES)
