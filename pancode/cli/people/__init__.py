"""Commands that let a person steer runs: continue, answer, approve, send words."""
