"""The node agent: it reads messages, takes jobs, advances attempts and reports."""
