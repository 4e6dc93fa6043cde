"""The chat on a whole terminal screen; pipes use the line chat."""
