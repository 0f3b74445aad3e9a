"""What tells a server of the Remote Execution API which worker will do."""

import pytest

from mlbuild.core.action import Run
from mlbuild.exec.base import Gpu
from mlbuild.remote.reapi.platform import properties

GPUS = (Gpu("0", "NVIDIA A100-SXM4-80GB"), Gpu("1", "Tesla T4"))


def told(template: str, **asked: object) -> str | None:
    """Return the one property that the template gives for what is asked for; None for none."""
    run = Run(argv=(("true",),), **asked)  # type: ignore[arg-type]
    return dict(properties({"it": template}, run, name="grid", gpus=GPUS)).get("it")


@pytest.mark.parametrize(
    ("template", "asked", "value"),
    [
        ("{disk}", {"disk": 3 << 20}, "3145728"),
        ("{disk_mib}", {"disk": (3 << 20) + 1}, "4"),
        ("{spot}", {"spot": True}, "true"),
        ("preemptible-{spot}", {"spot": True}, "preemptible-true"),
        ("{gpu}x{gpus}", {"gpus": "A100-80GB:1"}, "A100-80GBx1"),
        ("{gpu}x{gpus}", {"gpus": "H100:8, A100:2, T4, 1"}, "T4x1"),  # the first that there is
        ("{gpus}", {"gpus": "H100, 2"}, "2"),
    ],
)
def test_a_property_has_what_is_asked_for(
    template: str, asked: dict[str, object], value: str
) -> None:
    assert told(template, **asked) == value
    assert told(template) is None  # where nothing is


def test_without_word_of_the_workers_gpus_the_first_wish_counts() -> None:
    run = Run(argv=(("true",),), gpus="H100:8, A100")

    assert properties({"n": "{gpus}"}, run, name="grid") == (("n", "8"),)
