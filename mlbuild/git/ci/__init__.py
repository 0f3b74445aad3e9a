"""CI: a job that builds what a change affects, and what it has to say about it."""
