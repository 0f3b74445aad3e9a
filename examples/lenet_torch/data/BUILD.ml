dataset(
    name = "mnist",
    srcs = [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ],
    license = "CC-BY-SA-3.0",
)

dataset(
    name = "mnist_test",
    srcs = [
        "test-images-idx3-ubyte.gz",
        "test-labels-idx1-ubyte.gz",
    ],
    license = "CC-BY-SA-3.0",
)
