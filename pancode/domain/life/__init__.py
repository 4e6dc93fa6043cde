"""The life of a run: one signal and one frozen case make one value of changes."""
