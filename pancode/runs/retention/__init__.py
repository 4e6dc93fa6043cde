"""Which files of ended runs are retained, and for how long."""
