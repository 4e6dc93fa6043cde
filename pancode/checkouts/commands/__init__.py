"""The client's half: the checkout where a user stands."""
