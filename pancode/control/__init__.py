"""Use cases of the coordinator: load a snapshot, decide purely, apply."""
