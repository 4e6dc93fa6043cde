"""The node bundle: the files with which the node agent runs on a node without installing anything."""
