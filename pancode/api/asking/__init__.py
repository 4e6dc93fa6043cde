"""How a caller asks: keys of requests that are begun once, and pages of lists."""
