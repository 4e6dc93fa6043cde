"""What this machine is and which programs it has."""
