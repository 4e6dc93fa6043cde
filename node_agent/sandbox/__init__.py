"""The sandbox around an agent: what the agent may see and write, and whether this node can build one."""
