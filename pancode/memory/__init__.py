"""What earlier runs left for later ones: notes, history, scouts."""
