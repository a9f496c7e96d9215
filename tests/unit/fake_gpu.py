"""A GPU that is none: what `torch.cuda` is asked while training, answered by the processor."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch

from random_mask.training import loop


def fake_graphs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let `Fit` capture steps on the processor; return the list that says what was done.

    A step that is captured is not computed; when it is replayed it is, with what its inputs hold by then.
    """
    told: list[str] = []
    compute = loop.Fit._compute
    capturing: list[CUDAGraph] = []

    class CUDAGraph:
        def replay(self) -> None:
            told.append("replay")
            compute(*self.captured)

    @contextlib.contextmanager
    def graph(made, pool):
        assert pool == "pool"
        told.append("capture")
        capturing.append(made)
        yield
        capturing.pop()

    def computed(fit, *inputs):
        if capturing:
            capturing[-1].captured = (fit, *inputs)
        else:
            told.append("launch")
            compute(fit, *inputs)

    stream = SimpleNamespace(wait_stream=lambda other: None)
    fakes = {
        **{"CUDAGraph": CUDAGraph, "graph": graph, "graph_pool_handle": lambda: "pool"},
        **{"Stream": lambda: stream, "current_stream": lambda: stream},
        "stream": lambda side: contextlib.nullcontext(),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(loop.Fit, "_compute", computed)
    return told
