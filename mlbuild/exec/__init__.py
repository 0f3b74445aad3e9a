"""Running one Action over given inputs."""
