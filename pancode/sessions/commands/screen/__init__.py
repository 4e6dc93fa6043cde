"""The chat on a full terminal screen; pipes use the line chat."""
