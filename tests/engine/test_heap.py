import platform

import pytest

from addsr_cli.engine.heap import release_heap

psutil = pytest.importorskip("psutil")
PIECES = 400
PIECE = 100_000  # bytes, below the size that glibc maps apart


def resident():
    return psutil.Process().memory_info().rss


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap is trimmed")
def test_memory_between_pieces_in_use_is_returned():
    pieces = [bytes(PIECE) for _ in range(PIECES)]
    kept = pieces[::40]
    full = resident()
    del pieces
    release_heap()
    assert full - resident() > PIECES * PIECE / 2
    assert len(kept) == PIECES // 40
