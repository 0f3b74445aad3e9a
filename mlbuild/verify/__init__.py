"""verify: what differs between two results of one key, in words, and why that is likely so."""
