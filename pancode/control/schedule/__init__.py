"""Fires schedules: one thread that looks, decides and begins; and a person's verbs on them."""
