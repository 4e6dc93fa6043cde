"""The command line: asks, prints, and turns answers into exit statuses. A client of the API."""
