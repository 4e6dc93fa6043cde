"""Memory: what earlier runs leave for later ones, which is notes, history and answers of scouts."""
