"""Lines of work with a name, and the projects that they belong to."""
