"""The API as a document: the types of its answers, words about its routes, OpenAPI."""
