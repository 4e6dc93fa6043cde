"""A coordinator on another machine, and checkouts that travel there."""
