"""Adds declared values to pydantic models: to the body of a request, and to a part of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, create_model

from pancode.kernel.declared import Value

M = TypeVar("M", bound=BaseModel)


def with_values(
    values: Mapping[str, Value], types: Mapping[str, Any], *, in_file: bool = False
) -> Callable[[type[M]], type[M]]:
    """Return a decorator that adds declared values to a model. `types`: the annotation by the name of a type.

    In a file, the key of a value is its name on the command line, and bounds are checked on reading. In a
    request they are only declared and checked later (`check_options`), with errors that name the flag.
    """

    def made(model: type[M]) -> type[M]:
        declared: dict[str, Any] = {}
        for one in values.values():
            default = None if in_file and one.kind != "Labels" else one.default
            read = _add_bounds(one, types[one.kind], in_file=in_file)
            declared[one.word if in_file else one.name] = (
                read | None if default is None else read,
                Field(default=default, description=one.help),
            )
        about: Any = {"__module__": model.__module__, "__doc__": model.__doc__}
        return create_model(model.__name__, __base__=model, **about, **declared)

    return made


def _add_bounds(one: Value, read: Any, *, in_file: bool) -> Any:
    if one.words:
        told = Field(json_schema_extra={"enum": list(one.words)})
        return Literal[one.words] if in_file else Annotated[read, told]
    if one.bounds is None or (in_file and one.kind != "Count"):
        return read
    least, most = one.bounds
    told = Field(json_schema_extra={"minimum": least, "maximum": most})
    return Annotated[read, Field(ge=least, le=most) if in_file else told]
