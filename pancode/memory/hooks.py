"""Memory's part in runs: notes of earlier runs in the prompt, and a stored note when a run completes."""

from __future__ import annotations

from pancode.memory.model import RunNote
from pancode.memory.service import give_notes, store_note
from pancode.runs.extension import Hook, accept_all
from pancode.runs.features import Features

FEATURE = Features(
    # A resumed session already has the notes of earlier runs.
    prompt_parts=(Hook(lambda request: not request.resume, give_notes),),
    accepted=(Hook(accept_all, store_note),),
    tables=(RunNote,),
)
