"""Actions on other machines: what is ordered, how it gets there, who runs it and what comes back.

An Executor that runs elsewhere writes an Order, sends what is missing of the inputs (`cargo.py`),
has a runner started on the other machine (`runner.py`) and follows it (`follow.py`) until the
outputs are back. Whoever asks for the same order meanwhile follows the same run.
"""
