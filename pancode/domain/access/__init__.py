"""Decides who may ask for what over TCP: tokens, their scopes, and which requests are let in."""
