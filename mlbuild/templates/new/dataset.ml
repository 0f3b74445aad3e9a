dataset(
    name = "NAME",
    srcs = ["SCRIPT"],
)
