"""Puts one coordinator together: the only package that knows every other."""
