"""Sends notices over the network."""
