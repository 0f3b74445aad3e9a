python_environment(
    name = "env",
    lock = "requirements.lock",
    python = "3.11",  # the build of PyTorch for CPUs that the lock names is for this version
)
