"""Reports to other systems: notices and traces."""
