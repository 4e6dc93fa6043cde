"""A value of a project that is declared once is on every interface."""

from __future__ import annotations

from dataclasses import fields

from pancode.config.projects import ProjectSettings
from pancode.runs.project_rules import PROJECT
from pancode.workspaces.answers import ProjectShape
from pancode.workspaces.routes.projects import ProjectBody
from tests.unit.pancode.interfaces.cli.options import options_of


def test_each_value_is_on_every_interface() -> None:
    assert PROJECT.keys() - {"remote"} <= ProjectBody.model_fields.keys()
    assert PROJECT.keys() - {"name"} <= ProjectSettings.model_fields.keys()
    assert PROJECT.keys() <= {one.name for one in fields(ProjectShape)}
    assert {one.word for one in PROJECT.values() if one.help} <= options_of("project", "add")


def test_an_empty_require_of_a_settings_file_means_no_labels() -> None:
    project = ProjectSettings.model_validate({"path": "/srv/shop", "require": None}).named("shop")
    assert project.require == {}
