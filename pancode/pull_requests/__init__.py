"""What comes back on pull requests that PanCode opened: checks and reviews, and the work that they cause."""
