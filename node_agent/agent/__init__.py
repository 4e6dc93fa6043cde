"""The node agent: it listens, takes jobs, advances attempts and reports."""
