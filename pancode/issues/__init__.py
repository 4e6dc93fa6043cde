"""Issues of trackers: reads them, works on them in runs, and reports progress to the tracker."""
