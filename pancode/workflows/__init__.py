"""Carries workflows out, and shows them."""
