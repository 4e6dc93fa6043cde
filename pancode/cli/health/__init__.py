"""Commands about what has failed of late and is held up for a while."""
