"""Lists the files that affect what a program runs when set-up or a gate uses the program.

Each row follows the program's own documentation; `tests/integration/test_gate_files.py` checks the rows
against the programs that are available.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from node_agent.policy.config_parts import Parts, readable_as

_PACKAGE = Parts(
    "package.json",
    but=(
        *("name", "version", "description", "keywords", "author", "contributors", "maintainers", "license"),
        *("repository", "bugs", "homepage", "funding", "private", "files", "main", "module", "types"),
        *("typings", "exports", "browser", "sideEffects", "publishConfig", "dependencies", "devDependencies"),
        *("peerDependencies", "peerDependenciesMeta", "optionalDependencies"),
    ),
)
"""In a package file, only scripts and tool settings count, not its identity and dependencies."""
_CARGO = Parts(
    "Cargo.toml",
    but=(
        *(f"{at}.{key}" for at in ("package", "workspace.package") for key in (
            "name", "version", "authors", "description", "documentation", "readme", "homepage", "repository",
            "license", "license-file", "keywords", "categories", "include", "exclude", "publish", "metadata",
            "rust-version", "edition",
        )),
        *("features", "dependencies", "dev-dependencies", "build-dependencies", "workspace.dependencies"),
        *("target.*.dependencies", "target.*.dev-dependencies", "target.*.build-dependencies"),
    ),
)  # fmt: skip
_GO = Parts("go.mod", but=("require",))
_BUILD = Parts(
    "pyproject.toml",
    only=(
        *("build-system", "project.entry-points", "project.dynamic", "tool.setuptools", "tool.hatch"),
        *("tool.poetry.build", "tool.poetry.plugins", "tool.poetry.scripts", "tool.poetry.source"),
        *("tool.pdm", "tool.flit", "tool.uv", "tool.maturin", "tool.scikit-build", "tool.setuptools_scm"),
    ),
)
_PIP: Sequence[str | Parts] = (
    "setup.py",
    *(Parts(name, only=("option",)) for name in ("*requirements*.txt", "requirements/*.txt")),
    Parts("setup.cfg", but=("metadata", "tool", "flake8", "mypy", "isort", "coverage")),
    _BUILD,
)
_NODE = (
    _PACKAGE,
    "node_modules/",
    ".npmrc",
    ".yarnrc.yml",
    ".yarnrc",
    ".yarn/",
    ".pnpmfile.cjs",
    "pnpm-workspace.yaml",
)
_BAZEL = (".bazelrc", "tools/bazel", "BUILD", "BUILD.bazel", "*.bzl", "MODULE.bazel", "WORKSPACE*")
_COMPOSE = ("compose*.y*ml", "docker-compose*.y*ml", "Dockerfile*", "Containerfile*")
_GRADLE = ("*.gradle", "*.gradle.kts", "gradle.properties", "gradle-wrapper.*", "buildSrc/", "init.gradle*")
_MAVEN = ("pom.xml", ".mvn/")
_CMAKE = ("CMakeLists.txt", "*.cmake", "CMakePresets.json", "CMakeUserPresets.json")
_RUBY = ("Gemfile", "gems.rb", ".bundle/", "*.gemspec")
_DOTNET = ("Directory.*.props", "Directory.*.targets", "*.csproj", "*.fsproj", "*.vbproj", "*.sln")
_TRANSFORMS = ("babel.config.*", ".babelrc*", ".swcrc", "tsconfig*.json")
_COVERAGE: Sequence[str | Parts] = (
    ".coveragerc",
    Parts("pyproject.toml", only=("tool.coverage",)),
    Parts("setup.cfg", only=("coverage",)),
    Parts("tox.ini", only=("coverage",)),
)
WHEN_USED: Mapping[str, tuple[Parts, ...]] = readable_as({
    "make": ("Makefile", "makefile", "GNUmakefile", "*.mk"),
    "gmake": ("Makefile", "makefile", "GNUmakefile", "*.mk"),
    "ninja": ("build.ninja", *_CMAKE),
    "cmake": _CMAKE,
    "ctest": (*_CMAKE, "CTestConfig.cmake"),
    "meson": ("meson.build", "meson.options", "meson_options.txt"),
    "scons": ("SConstruct", "SConscript"),
    "npm": _NODE,
    "npx": _NODE,
    "yarn": _NODE,
    "pnpm": _NODE,
    "bun": (*_NODE, "bunfig.toml"),
    "deno": ("deno.json", "deno.jsonc"),
    "jest": _TRANSFORMS,
    "vitest": ("vite.config.*", "vitest.workspace.*", "vitest.projects.*", *_TRANSFORMS),
    "mocha": ("test/mocha.opts", *_TRANSFORMS),
    "react-scripts": _TRANSFORMS,
    "tsc": ("tsconfig*.json",),
    "ng": ("angular.json",),
    "git": (".gitattributes",),
    "earthly": ("Earthfile",),
    "generate": (Parts("*.go", only=("generate",)),),
    "ts-node": ("tsconfig*.json",),
    "tsx": ("tsconfig*.json",),
    "tap": (".tap/",),
    "nx": ("nx.json", "project.json"),
    "turbo": ("turbo.json",),
    "pytest": (
        *("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"),
        Parts("pyproject.toml", only=("tool.pytest", "project.entry-points")),
        Parts("setup.cfg", only=("tool:pytest", "options.entry_points")),
        Parts("tox.ini", only=("pytest",)),
        *_COVERAGE,
    ),
    "py.test": ("conftest.py", "pytest.ini"),
    "coverage": (*_COVERAGE,),
    "tox": ("tox.toml", Parts("tox.ini", only=("tox", "testenv", "gh")), *_PIP),
    "nox": ("noxfile.py",),
    "hatch": (*_PIP, "hatch.toml"),
    "pip": _PIP,
    "pip3": _PIP,
    "build": _PIP,
    "uv": (*_PIP, "uv.toml"),
    "poetry": (*_PIP, "poetry.toml"),
    "pdm": (*_PIP, "pdm.toml"),
    "invoke": ("tasks.py", "invoke.y*ml"),
    "inv": ("tasks.py", "invoke.y*ml"),
    "doit": ("dodo.py",),
    "golangci-lint": (".golangci.*",),
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.y*ml", "Taskfile.dist.y*ml"),
    "cargo": (
        *("build.rs", ".cargo/", "rust-toolchain", "rust-toolchain.toml", "clippy.toml", ".clippy.toml"),
        *("rustfmt.toml", ".rustfmt.toml", ".config/nextest.toml"),
        _CARGO,
    ),
    "go": (_GO, "go.work"),
    "composer": ("composer.json",),
    "phpunit": ("phpunit.xml*",),
    "gradle": _GRADLE,
    "gradlew": _GRADLE,
    "mvn": _MAVEN,
    "mvnw": _MAVEN,
    "sbt": ("build.sbt", "project/"),
    "rake": ("Rakefile", "*.rake", *_RUBY),
    "bundle": _RUBY,
    "rspec": ("spec_helper.rb", "rails_helper.rb", *_RUBY),
    "dotnet": (*_DOTNET, "global.json", "nuget.config", "NuGet.Config", "*.runsettings"),
    "mix": ("mix.exs", ".formatter.exs", "config/*.exs", "test_helper.exs"),
    "swift": ("Package.swift",),
    "prove": (".proverc",),
    "bazel": _BAZEL,
    "bazelisk": _BAZEL,
    "docker": _COMPOSE,
    "docker-compose": _COMPOSE,
    "podman": _COMPOSE,
    "podman-compose": _COMPOSE,
    "foreman": ("Procfile*",),
    "honcho": ("Procfile*",),
    "overmind": ("Procfile*",),
})  # fmt: skip
"""For each program that set-up or a gate names, the files that it reads."""
RECIPES: Mapping[str, tuple[Parts, ...]] = readable_as({
    **dict.fromkeys(("make", "gmake"), ("Makefile", "makefile", "GNUmakefile")),
    **dict.fromkeys(("npm", "npx", "yarn", "pnpm", "bun"), (Parts("package.json", only=("scripts",)),)),
    "tox": (Parts("tox.ini", only=("testenv",)), Parts("pyproject.toml", only=("tool.tox",))),
    "nox": ("noxfile.py",),
    "hatch": (Parts("pyproject.toml", only=("tool.hatch.envs",)),),
    "pdm": (Parts("pyproject.toml", only=("tool.pdm.scripts",)),),
    "poe": (Parts("pyproject.toml", only=("tool.poe",)),),
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "rake": ("Rakefile",),
    "tsc": (Parts("tsconfig.json", only=("extends",)),),
    "composer": (Parts("composer.json", only=("scripts",)),),
})  # fmt: skip
"""The files in which a program finds further commands: the gate uses what those commands use, too."""
_CONFIG = re.compile(
    r"\.?([A-Za-z][\w-]*?)(?:\.(?:config|conf)\.\w+|rc(?:\.\w+)?|file(?:\.\w+)?"
    r"|(?:config)?(?:\.dist)?\.(?:ini|cfg|toml|jsonc?|neon|xml)(?:\.dist)?)"
)
_DOTTED = re.compile(r"\.([A-Za-z][\w-]*?)(?:ignore)?(?:\.(?:json|jsonc|ya?ml|toml|ini))?")
SHARED = ("pyproject.toml", "setup.cfg", "tox.ini")
"""The configuration files that several programs share."""
_ONLY_NAMES = {"git", "setup", "Cargo", "pyproject", "package", "tox", "Make", "make", "GNUmake"}


def is_config_of(name: str) -> tuple[str, ...]:
    """Return the names of the program that a configuration file belongs to by its own name. Examples:
    `jest.config.js`, `.mocharc.json`, `mypy.ini`, `.flake8`, `.eslintignore`, `magefile.go`."""
    found = _CONFIG.fullmatch(name) or _DOTTED.fullmatch(name)
    return () if found is None or found[1] in _ONLY_NAMES else (found[1], found[1].lower())
