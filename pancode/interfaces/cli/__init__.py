"""The command line, a client of the API: sends requests, prints answers and returns exit statuses."""
