"""However a stream ends, its threads stop, and the segmenter can be used."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from odise_trt import (
    BackendError,
    Segmenter,
)
from odise_trt.chains.host import HostChain
from tests.odise_trt.streaming.parts import (
    LONG,
    WORDS,
    Slow,
    endless,
    found,
    plain,
    reading_threads,
)


def test_leaving_the_loop_stops_the_threads(deep: Segmenter) -> None:
    for _ in deep.stream(endless()):
        assert reading_threads()
        break
    assert reading_threads() == []
    assert found(next(deep.stream([plain("green")]))) == ["green"]


def test_pictures_of_a_stream_that_was_left_do_not_stay_in_the_chain(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Slow(segmenter._chain, 2)
    monkeypatch.setattr(segmenter, "_chain", chain)
    for _ in range(3):
        for one in segmenter.stream([plain(n) for n in range(9)]):
            if one.index == 3:
                break
        segmenter(plain("red"))
    assert (chain.on_their_way, chain.most) == (0, 2)


def test_a_closed_stream_gives_nothing_more(deep: Segmenter) -> None:
    with deep.stream(endless()) as stream:
        assert found(next(stream)) == ["red"]
        stream.close()
        stream.close()
        assert reading_threads() == []
        assert list(stream) == []


def test_an_error_in_the_loop_stops_the_threads(deep: Segmenter) -> None:
    stream = deep.stream(endless())

    def work() -> None:
        with stream:
            for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert reading_threads() == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_an_engine_stops_the_threads(
    stop: type[BaseException], segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = segmenter.stream(endless())
    next(stream)

    def begin(*_: object) -> None:
        raise stop

    monkeypatch.setattr(HostChain, "begin", begin)
    with pytest.raises(stop):
        next(stream)
    assert reading_threads() == []
    assert list(stream) == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
def test_ctrl_c_while_there_is_no_frame_ends_the_wait(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odise_trt.streaming.reader.PATIENCE", 0.01)
    plugged = threading.Event()
    main = threading.get_ident()

    def camera() -> Iterator[np.ndarray]:
        signal.pthread_kill(main, signal.SIGINT)
        plugged.wait(LONG)
        yield plain("red")

    stream = segmenter.stream(camera())
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    plugged.set()
    for thread in stream._reader._running:
        thread.join(LONG)
    assert list(stream) == []


def test_a_segmenter_that_is_closed_stops_its_streams(opened: Segmenter) -> None:
    with Segmenter.open(opened.bundle.folder, vocabulary=WORDS, cache=False, threads=1) as segmenter:
        stream, idle = segmenter.stream(endless()), segmenter.stream(endless())
        next(stream)
    assert reading_threads() == []
    for one in (stream, idle):
        with pytest.raises(BackendError, match="was closed"):
            next(one)
    with pytest.raises(BackendError, match="was closed"):
        segmenter.stream([])


def test_a_camera_that_gives_nothing_does_not_hold_up_the_end(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odise_trt.streaming.reader.PATIENCE", 0.01)
    plugged = threading.Event()

    def camera() -> Iterator[np.ndarray]:
        yield plain("red")
        plugged.wait(LONG)

    with segmenter.stream(camera()) as stream:
        next(stream)
    (left,) = (one for one in threading.enumerate() if one.name.startswith("odise-trt"))
    assert left.daemon  # so that the process can end
    plugged.set()
    left.join(LONG)
    assert reading_threads() == []
