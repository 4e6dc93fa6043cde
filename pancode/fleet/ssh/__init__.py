"""SSH: how the coordinator reaches a node, keeps its tunnels open and installs the node agent."""
