"""Access to the coordinator's machine: files, locks, processes, and data files installed with PanCode."""
