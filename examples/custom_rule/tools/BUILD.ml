# The package of the rule's program: labels such as `//tools:split.py` need it.
