"""Asking about targets: what is declared, and how it is shown."""
