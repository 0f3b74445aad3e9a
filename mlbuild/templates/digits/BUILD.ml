# The packages that scripts run with. To change them, edit requirements.in and run the command in it.
python_environment(
    name = "env",
    lock = "requirements.lock",
)
