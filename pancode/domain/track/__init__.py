"""Records that decide: who does which kind of work how well, and what follows from it."""
