"""Commands with which people have a say: what waits for them, answers, approvals, words to a run."""
