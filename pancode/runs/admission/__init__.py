"""Admission: the ten gates that decide whether a request becomes a run, and the facts that they check."""
