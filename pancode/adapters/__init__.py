"""Effects, one technology each; every one translates its library's errors at its edge."""
