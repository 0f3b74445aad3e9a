python_environment(
    name = "env",
    lock = "requirements.lock",
)
