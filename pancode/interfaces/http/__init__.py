"""HTTP for users and their programs, on a unix socket: parses a request, calls the route, answers."""
