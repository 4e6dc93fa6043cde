"""What has failed of late, and is held up for a while."""
