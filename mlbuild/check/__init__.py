"""What is wrong in a workspace, all of it at once, without building anything."""
