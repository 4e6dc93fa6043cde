"""The rows, states, books and ports that every room stands on. Pure."""
