"""What kind of file is read."""

from enum import Enum


class Dialect(Enum):
    """The rules of a file beyond the grammar."""

    BUILD = "build"  # targets: no functions, no `if` or `for` outside of comprehensions
    BZL = "bzl"  # functions and constants: each global is assigned once
    PLAIN = "plain"  # a script: globals may change, `if` and `for` stand anywhere
