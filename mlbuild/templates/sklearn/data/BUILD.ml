process(
    name = "digits",
    script = "split.py",
    environment = "//:env",
    params = {"test_share": 0.25},
    seed = 0,
    outs = [
        "test.npz",
        "train.npz",
    ],
)
