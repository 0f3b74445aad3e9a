"""Sizes and ages as people write them."""

import pytest

from mlbuild.core.limits import Limits, age_fault, limits_of, size_fault
from mlbuild.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50 GiB", 50 << 30),
        ("50gib", 50 << 30),
        ("50G", 50 << 30),
        ("50 GB", 50 * 10**9),
        ("1.5 MiB", 3 << 19),
        ("1000", 1000),
        ("20%", 200),
        ("auto", 300),
        ("none", None),
    ],
)
def test_a_size_means_bytes(text: str, size: int | None) -> None:
    limits = limits_of(text, "none", disk=1000, room=600)

    assert limits == Limits(size, None)


@pytest.mark.parametrize(
    ("text", "days"), [("30 days", 30), ("12 h", 0.5), ("2w", 14), ("auto", 90), ("1 year", 365)]
)
def test_an_age_means_seconds(text: str, days: float) -> None:
    limits = limits_of("none", text, disk=0, room=0)

    assert limits.age == days * 24 * 3600


@pytest.mark.parametrize("text", ["", "many", "-1 GiB", "5 XB", "GiB", "5 GiB GiB"])
def test_what_is_no_size_says_how_to_write_one(text: str) -> None:
    with pytest.raises(InputError) as caught:
        limits_of(text, "none", disk=0, room=0)

    assert "`50 GiB`" in caught.value.message
    assert size_fault(text)


@pytest.mark.parametrize("text", ["", "soon", "5", "-3 days"])
def test_what_is_no_age_says_how_to_write_one(text: str) -> None:
    with pytest.raises(InputError) as caught:
        limits_of("none", text, disk=0, room=0)

    assert "`30 days`" in caught.value.message
    assert age_fault(text)
