"""Asking the graph: the query language, what it is asked of, and how the answer is shown."""
