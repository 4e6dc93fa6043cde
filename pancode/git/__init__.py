"""Git on the coordinator: snapshots, the depot and its server, stored logs."""
