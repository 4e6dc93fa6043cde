"""Commands that take the whole screen of a terminal."""
