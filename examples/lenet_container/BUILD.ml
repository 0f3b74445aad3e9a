container_environment(
    name = "env",
    archive = "image.tar",
)
