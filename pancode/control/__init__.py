"""What every use case stands on: the memory, the unit of work, the feed, the JSON of answers."""
