# The digits: data, model, report.

load("@rules//extra.bzl", "extra")
load("//tools:plots.bzl", "histogram", bars = "bar_chart", curve = "line_chart")
load(":local.bzl", "shrink")
# This one speaks of what follows.
load("//tools:a.bzl", "a")

SEED = 0
EPOCHS = 5

SIZES = [64, 32, 10]
NAMES = [
    "a",
    "b",
]
PAIR = (1, 2)

train(
    # What the run is called.
    name = "lenet",
    script = "train.py",
    srcs = glob(
        ["lenet/*.py"],
        exclude = ["lenet/old.py"],
    ),
    params = {
        "epochs": EPOCHS,
        "lr": .05,
        "layers": [3, -1],
    },
    data = {"mnist": "//data:mnist"},
    outs = ["model.npz"],  # the weights
    tags = [
        "gpu",
        "slow",
    ],
    visibility = [
        "//:__subpackages__",
        "//reports:__pkg__",
    ],
    label = "{}-{}".format(NAMES[0], SEED + 1),
    **COMMON
)

report(
    name = "summary",
    deps = [
        ":a",
        ":b",
        "//z:z",
        # what the plots need
        "@plots//:lib",
        "data.csv",
        "//a",
        SHARED,
    ],
)  # once a day

report(
    name = "in_order",
    deps = [
        # do not sort
        "b",
        "a",
    ],
)

[train(
    name = "lr_%s" % lr,
    script = "train.py",
    params = {"lr": lr},
) for lr in [0.1, 0.2]]

filegroup(name = "one")

filegroup(
    name = "two",
)

genrule(
    name = generated_name(),
    cmd = "tr a-z A-Z < $< > $@",
    outs = [],
    srcs = [],
    message = 'say "hi"',
    title = 'it\'s',
)

x = [
    name
    for name in NAMES
    if name != "b"
]
y = (
    "a" +
    "b" +  # two
    "c"
)

filegroup(name   =   "three",srcs=["b","a"])  # fmt: skip

# buildifier: leave-alone
filegroup(name = "four",
          srcs = ["b",
                  "a"])

# The end.
