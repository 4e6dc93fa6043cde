"""What earlier runs leave for later ones: notes, history, scouts."""
