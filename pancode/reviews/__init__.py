"""Reviews of changes in rounds: comments at their lines, the message with them, and its answers."""
