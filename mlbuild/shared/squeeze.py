"""Squeeze: zstd where it pays, and its undoing, which never makes more than was declared."""

import zstandard

from mlbuild.shared.base import SharedTrouble

_LEVEL = 1  # a core squeezes more than a fast network carries
_SAMPLE = 16 * 1024  # bytes at the beginning, in the middle and at the end
_WORTH = 0.9  # of the sample must be enough
_SMALL = 64  # bytes; below, a frame is longer


def squeeze(content: bytes) -> bytes | None:
    """Return the zstd frame of `content`; None when that is hardly shorter."""
    if len(content) < _SMALL or not _pays(content):
        return None
    frame = _frame(content)
    return frame if len(frame) < len(content) else None


def _pays(content: bytes) -> bool:
    """Say whether a sample gets shorter: most of what is large has been compressed before."""
    if len(content) <= 4 * _SAMPLE:
        return True
    middle = len(content) // 2
    sample = content[:_SAMPLE] + content[middle : middle + _SAMPLE] + content[-_SAMPLE:]
    return len(_frame(sample)) < _WORTH * len(sample)


def _frame(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(content)


def unsqueeze(frame: bytes, *, size: int) -> bytes:
    """Return the `size` bytes of a frame; raise SharedTrouble when it is anything else."""
    try:
        # The frame's own word decides how much is allocated, so it must be the same.
        if zstandard.get_frame_parameters(frame).content_size == size:
            content = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
            if len(content) == size:
                return content
    except (zstandard.ZstdError, ValueError, MemoryError) as error:
        raise SharedTrouble("damaged", "compressed bytes cannot be read") from error
    raise SharedTrouble("damaged", "compressed bytes are more or less than was declared")
