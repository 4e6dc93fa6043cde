"""The commands `pancode land` and `pancode review`, which land results on branches and in files."""
