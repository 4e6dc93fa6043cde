"""The node agent: it listens, takes orders, advances attempts and reports."""
