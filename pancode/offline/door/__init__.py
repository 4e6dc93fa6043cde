"""What a coordinator shows to others over TCP; the API is loaded only where its owner wants it."""
