"""Commands for copies of this fleet: make and list them, and restore a fleet from one."""
