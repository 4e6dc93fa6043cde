"""`pancode land` and `pancode review`: land results on branches and in files."""
