"""Dataset readers, one file each, and the preparation of datasets as the arrays that training reads."""
