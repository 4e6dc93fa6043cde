"""The command that drills this machine's fleet."""
