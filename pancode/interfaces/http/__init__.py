"""HTTP for people and their programs, on a unix socket: parse, one verb, return."""
