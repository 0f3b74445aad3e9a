# A page of what `make bench` measured the last time: docs/benchmarks.json.
process(
    name = "figures",
    script = "figures.py",
    args = [
        "$(location benchmarks)",
        "$(output figures.csv)",
        "$(output machine.json)",
        "$(output plots)",
    ],
    data = {"benchmarks": "//docs:benchmarks.json"},
    out_trees = ["plots"],
    outs = [
        "figures.csv",
        "machine.json",
    ],
)

report(
    name = "report",
    title = "Benchmarks",
    data = {"What was measured": ":figures"},
    rows = 200,
)
