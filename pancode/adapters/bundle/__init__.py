"""The node bundle: what is put on a node so that the node agent runs there without installing anything."""
