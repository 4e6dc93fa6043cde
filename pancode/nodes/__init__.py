"""Facts about a node, and the decisions on them. Pure."""
