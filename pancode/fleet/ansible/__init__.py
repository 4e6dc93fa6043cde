"""Inventories of Ansible."""
