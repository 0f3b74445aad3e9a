# A small paper: two figures and a table, each from data of its own, and the page that holds them.

process(
    name = "ink",
    script = "figures/ink.py",
    srcs = ["figures/drawing.py"],
    args = [
        "$(location data)",
        "$(output ink.svg)",
    ],
    data = {"data": "data/ink.csv"},
    outs = ["ink.svg"],
)

process(
    name = "shape",
    script = "figures/shape.py",
    srcs = ["figures/drawing.py"],
    args = [
        "$(location data)",
        "$(output shape.svg)",
    ],
    data = {"data": "data/shape.csv"},
    outs = ["shape.svg"],
)

process(
    name = "numbers",
    script = "figures/count.py",
    args = [
        "$(location data)",
        "$(output classes.csv)",
        "$(output numbers.json)",
    ],
    data = {"data": "data/ink.csv"},
    outs = ["classes.csv"],
    metrics = "numbers.json",
)

report(
    name = "paper",
    title = "How much ink a digit takes",
    data = {
        "ink": ":ink",
        "numbers": ":numbers",
        "shape": ":shape",
    },
    text = "paper.md",
)
