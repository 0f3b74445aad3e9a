"""BUILD.ml files become targets, targets become actions."""
