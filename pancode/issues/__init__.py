"""Issues of trackers: reading them, working on them in runs, and reporting progress to the tracker."""
