"""Loads the parts of a package of types as they are asked for: the model client lists 400, a run uses a few.

Such a package's `__init__` is a list of `from .part import Name`. One that holds anything else is loaded as
it stands, so that another version of the library costs time and nothing else.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

Parts = dict[str, tuple[str, str]]
"""The module and the name in it, for each name that a package gives."""


def spare(package: str) -> None:
    """From now on, for it and all packages in it. What is loaded already stays."""
    sys.meta_path.insert(0, _Finder(package))


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._package and not name.startswith(f"{self._package}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.submodule_search_locations is None:
            return spec
        if isinstance(spec.loader, SourceFileLoader) and (parts := _parts(name, spec.loader)) is not None:
            spec.loader = _OnDemand(parts)
        return spec


class _OnDemand(Loader):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__

        def missing(asked: str) -> object:
            try:
                found = _found(name, self._parts, asked)
            except ModuleNotFoundError:
                raise AttributeError(f"module {name!r} has no attribute {asked!r}") from None
            setattr(module, asked, found)
            return found

        module.__dict__["__getattr__"] = missing
        module.__dict__["__all__"] = list(self._parts)


def _found(package: str, parts: Parts, asked: str) -> object:
    """Raises ModuleNotFoundError for what is neither a name that the package gives nor a part of it."""
    if asked not in parts:
        if asked.startswith("__"):
            raise ModuleNotFoundError(asked)
        return importlib.import_module(f"{package}.{asked}")
    part, name = parts[asked]
    if part == package:
        return importlib.import_module(f"{package}.{name}")
    return getattr(importlib.import_module(part), name)


def _parts(name: str, loader: SourceFileLoader) -> Parts | None:
    """None for an `__init__` that is more than a list."""
    parts: Parts = {}
    for node in ast.parse(loader.get_data(loader.path)).body:
        if not isinstance(node, ast.ImportFrom) or any(one.name == "*" for one in node.names):
            return None
        if node.module == "__future__":
            continue
        if node.level != 1:
            return None
        part = f"{name}.{node.module}" if node.module else name
        parts.update((one.asname or one.name, (part, one.name)) for one in node.names)
    return parts
