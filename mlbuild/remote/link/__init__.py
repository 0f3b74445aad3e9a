"""Connections to another machine: what goes over them, and our program on its way there."""
