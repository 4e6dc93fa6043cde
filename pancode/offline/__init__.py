"""Commands that need no coordinator, or are one."""
