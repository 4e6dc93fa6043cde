"""`pancode land` and `pancode review`: results into branches and files."""
