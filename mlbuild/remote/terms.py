"""Terms: how a submitter wants orders to be run, beside what is in them."""

from dataclasses import dataclass

PROCESS = "process"
INSIDES = ("auto", "sandbox", "docker", PROCESS)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a submitter wants an order to be run, beside what is in it."""

    slots: int = 0  # CPUs that orders may use there together; 0 is as many as there are
    inside: str = "auto"  # what runs commands: one of INSIDES
    store: str = ""  # URL of the bucket that both machines use; "" is one of the runner's machine
