"""The sandbox around an agent: what it may see and write, and whether this node can build it."""
