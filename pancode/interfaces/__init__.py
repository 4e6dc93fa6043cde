"""Shared parts of the interfaces: HTTP, command line, terminal, web, MCP, ACP."""
