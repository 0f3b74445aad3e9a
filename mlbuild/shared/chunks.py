"""Chunks: a large content as a sequence of objects, cut where its own bytes say so.

Of a file in which a part was changed, inserted or removed, all chunks but those around that part
are the same as before. Without the package `fastcdc` (`mlbuild[chunks]`) chunks have one size, and
that holds for parts that were overwritten in place only.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, pairwise

LEAST, MEAN, MOST = 1 << 20, 3 << 20, 6 << 20  # bytes
FIXED = 4 << 20
_WINDOW = 18 << 20  # bytes that are read at once

Read = Callable[[int, int], bytes]  # so many bytes from an offset, fewer at the end
Cuts = Callable[[bytes], Iterator[int]]  # the ends of the chunks of these bytes


def chunks_of(read: Read, size: int, *, cuts: Cuts) -> Iterator[bytes]:
    """Yield the chunks of `size` bytes; fewer bytes when there are fewer by now."""
    at = 0
    while at < size and (window := read(at, min(_WINDOW, size - at))):
        last = at + len(window) >= size
        for start, end in pairwise(chain([0], cuts(window))):
            # Near the end of the window a cut may be its end, not the content's.
            if not last and start > 0 and len(window) - start < MOST:
                break
            yield window[start:end]
            at += end - start


@cache
def best_cuts() -> Cuts:
    """Return how chunks are cut here: by content where the package for that is installed."""
    try:
        from fastcdc.fastcdc_cy import fastcdc_cy  # noqa: PLC0415 - an extra; never in slow Python
    except ImportError:
        return fixed_cuts

    def content_cuts(window: bytes) -> Iterator[int]:
        for chunk in fastcdc_cy(window, LEAST, MEAN, MOST):
            yield chunk.offset + chunk.length

    return content_cuts


def fixed_cuts(window: bytes) -> Iterator[int]:
    """Cut into equal parts."""
    for end in range(FIXED, len(window) + FIXED, FIXED):
        yield min(end, len(window))
