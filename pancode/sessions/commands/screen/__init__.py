"""The chat on a whole terminal; the line chat beside it stays for pipes."""
