"""The client's half: the checkout where a person stands."""
