python_environment(
    name = "NAME",
    lock = "SCRIPT",
)
