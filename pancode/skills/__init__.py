"""Skills (SKILL.md): their sources, their validity, and their copies for agent programs."""
