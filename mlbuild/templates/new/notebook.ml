notebook(
    name = "NAME",
    notebook = "SCRIPT",
    # Its lock holds `nbclient` and `ipykernel`.
    ENVIRONMENT
    params = {"bins": 10},
)
