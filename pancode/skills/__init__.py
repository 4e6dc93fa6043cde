"""Skills (SKILL.md): their sources, validation and assignment, and their copies for programs."""
