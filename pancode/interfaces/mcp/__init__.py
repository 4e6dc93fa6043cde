"""An MCP server on standard input and output: other agents hand work to the fleet through it."""
