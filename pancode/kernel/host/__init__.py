"""Access to the coordinator's machine: files, locks, processes and the data files installed with PanCode."""
