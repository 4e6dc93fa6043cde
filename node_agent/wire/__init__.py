"""The wire contract: the messages between the coordinator and a node."""
