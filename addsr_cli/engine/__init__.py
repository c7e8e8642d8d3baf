"""One photo through one model: how it is cut to fit the memory, run, and put together again."""
