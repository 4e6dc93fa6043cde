"""HTTP for users and their programs, on a unix socket: parse, call the route's function, return."""
