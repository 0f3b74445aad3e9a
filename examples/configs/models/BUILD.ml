process(
    name = "mean",
    script = "mean.py",
    args = [
        "--data",
        "$(location rows)",
        "--epochs",
        "$(param epochs)",
        "--out",
        "$(output mean.json)",
    ],
    data = {"rows": "//data:rows"},
    params = {"epochs": 2} | select({
        "//config:long": {"epochs": 20},
        "//conditions:default": {},
    }),
    metrics = "mean.json",
)
