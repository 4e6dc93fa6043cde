"""SSH: how the coordinator reaches a node, holds its tunnels and puts the node agent there."""
