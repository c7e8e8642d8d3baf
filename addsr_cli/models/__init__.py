"""Networks: the protocols they follow, and one folder and record per architecture."""
