"""An MCP server on standard input and output, through which other agents give work to the fleet."""
