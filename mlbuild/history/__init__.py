"""What ran, when, with what result; and why it ran."""
