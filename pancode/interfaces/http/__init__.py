"""HTTP for users and their programs, on a unix socket: parse, one verb, return."""
