"""Assembles a coordinator: the only package that imports all others."""
