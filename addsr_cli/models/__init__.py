"""Networks, and what each of them can do."""
