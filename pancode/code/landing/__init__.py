"""Landings: asked for, judged, queued, carried out."""
