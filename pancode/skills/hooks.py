"""What skills and agent-made tools add to runs: both are added to jobs, and proposed tools are stored."""

from __future__ import annotations

from operator import attrgetter

from pancode.runs.extension import Hook, accept_all
from pancode.runs.features import Features
from pancode.skills.made_tool_store import give_skills
from pancode.skills.made_tools import keep_proposed, list_needs
from pancode.skills.records import StoredTool, StoredToolFiles

FEATURE = Features(
    prompt_parts=(Hook(accept_all, give_skills),),
    accepted=(Hook(attrgetter("proposed"), keep_proposed),),
    needs_user=(list_needs,),
    tables=(StoredTool, StoredToolFiles),
)
