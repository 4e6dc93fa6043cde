"""Pull requests that PanCode opened: their checks and reviews, and the work that these cause."""
