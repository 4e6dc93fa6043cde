"""A skill in a job: instructions that agent programs read, by name and digest, with packed files."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from node_agent.wire.model import Digest, WireModel

MOST_PACKED, MOST_UNPACKED = 131_072, 32 << 20
"""The most characters of all packed skills of one job, and the most bytes of one unpacked skill, in JSON."""
MOST_SKILLS = 100
SkillName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
TOOLS: Final = ".pancode/tools"
"""The folder where a run proposes tools. As a skill's place: a tool that a user approved for the project."""
SkillPlace = Literal["", ".pancode/skills", ".agents/skills", ".claude/skills", ".pancode/tools"]
"""The repository folder that also contains the skill's files; empty: it is not from the repository."""
ABOUT = "tool.json"
"""The file of a tool with its description (`about`), the schema of its `input`, and its `seconds`."""
TOOL = "tool-"
"""The prefix of stored tools' names in jobs, receipts and programs, to avoid clashes with other tools."""
MOST_TOOLS, MOST_TOOL, MOST_TOOL_FILES = 2, 16_384, 20
"""The most tools that an attempt may propose, most characters of a packed tool, and most files of a tool."""
Files = Mapping[str, tuple[bytes, bool]]
"""A skill's files: path below the skill -> (content, whether the file is executable)."""


class SkillMark(WireModel):
    """A skill's name and the digest of its bytes."""

    name: SkillName
    digest: Digest


class ProposedTool(SkillMark):
    """A tool that a run proposes and no user has approved yet. Its files are packed like a skill's."""

    packed: Annotated[str, Field(max_length=MOST_TOOL)]


class JobSkill(SkillMark):
    """A skill of a run. `packed`: the skill's files, as packed by `pack_files`."""

    place: SkillPlace = ""
    packed: Annotated[str, Field(max_length=MOST_PACKED)]

    def files(self) -> dict[str, bytes]:
        """Return each file's content by its path below the skill. Raises ValueError for a wrong digest."""
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(base64.b64decode(self.packed, validate=True), MOST_UNPACKED)
            read = json.loads(text)
            found = {path: (data.encode("latin-1"), bool(may_run)) for path, (data, may_run) in read.items()}
        except (binascii.Error, zlib.error, ValueError, TypeError, AttributeError) as exc:
            raise ValueError(f"skill {self.name} cannot be unpacked: {type(exc).__name__}") from exc
        if digest_of(found) != self.digest:
            raise ValueError(f"skill {self.name} does not match its digest")
        if any(not {"", ".", ".."}.isdisjoint(path.split("/")) for path in found):
            raise ValueError(f"skill {self.name} has a file outside its folder")
        return {path: data for path, (data, _) in found.items()}


def mark_executable(files: Mapping[str, bytes]) -> dict[str, tuple[bytes, bool]]:
    """Return a tool's files, each with whether it is executable, which is so if it begins with `#!`."""
    return {path: (data, data.startswith(b"#!")) for path, data in files.items()}


def digest_of(files: Files) -> str:
    """Return one digest for a whole skill, by which copies of skills are compared."""
    lines = [[path, hashlib.sha256(files[path][0]).hexdigest(), files[path][1]] for path in sorted(files)]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def pack_files(files: Files) -> str:
    """Return the files packed into one string; equal files lead to an equal string."""
    plain = {path: [files[path][0].decode("latin-1"), files[path][1]] for path in sorted(files)}
    return base64.b64encode(zlib.compress(json.dumps(plain).encode(), 9)).decode("ascii")
