"""Sends notices and webhooks over the network."""
