"""Named workspaces (lines of runs that share their files), and the projects that they belong to."""
