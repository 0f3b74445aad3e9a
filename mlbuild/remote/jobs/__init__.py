"""Jobs that are under way elsewhere, for whoever looks after them."""
