"""The client's part: the checkout in the user's working directory."""
