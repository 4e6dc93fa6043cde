"""Files that are whole or absent, and folders of any depth."""
