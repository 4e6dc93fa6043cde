"""Lands the changes of runs: asked for, queued by repository, judged, written, recorded."""
