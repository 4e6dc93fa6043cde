"""Commands about other programs that use the fleet."""
