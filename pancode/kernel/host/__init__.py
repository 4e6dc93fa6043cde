"""Effects on the machine of the coordinator: files, locks, processes, lists that are installed with us."""
