"""Code transport on the coordinator: snapshots, the depot and its server, diffs and landing."""
