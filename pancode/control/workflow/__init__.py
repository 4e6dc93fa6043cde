"""Workflows: begun, advanced step by step, stopped and begun again; each change in one transaction."""
