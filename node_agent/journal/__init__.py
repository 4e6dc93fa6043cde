"""The node's durable memory."""
