"""The account: the records that decide."""
