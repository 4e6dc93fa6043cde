"""Fakes: each stands for one port, in memory, and passes that port's contract suite; and `FakeApi`."""
