"""Git: what differs between two commits, and what follows from that."""
