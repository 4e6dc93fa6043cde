"""Skills (SKILL.md): their sources, whether they are well made, and their copies for agent programs."""
