"""Issues of trackers: read, worked on by runs, and told how far the work is."""
