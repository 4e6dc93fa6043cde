"""The command line, a client of the API: sends requests, prints, turns answers into exit statuses."""
