"""Decides how a workflow goes on, and which run takes the place of a step."""
