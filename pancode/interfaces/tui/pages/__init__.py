"""Pure presenters: answers of the API become pages of rows and lines."""
