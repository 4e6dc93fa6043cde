"""The web console: static files that a browser reads, and the routes that serve them."""
