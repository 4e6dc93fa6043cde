"""Who may use the API: tokens, one-time codes, keyed requests."""
