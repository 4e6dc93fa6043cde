"""The node bundle: the files that run the node agent on a node without an installation."""
