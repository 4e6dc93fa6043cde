"""What is kept of ended runs, and for how long."""
