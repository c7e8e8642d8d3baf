"""Gradients of several processes become their mean: a few large transfers, one under way while the next is packed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

BUCKET = (
    64 * 2**20
)  # bytes; large enough that a transfer's start costs nothing, and at most two are held


def average(gradients: Sequence[Tensor], processes: int) -> None:
    """Replace every gradient by its mean over all ``processes``, in place; all bring the same ones in one order."""
    earlier: _Transfer | None = None
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        started = _Transfer(
            bucket=bucket,
            flat=flat,
            work=distributed.all_reduce(flat, async_op=True),
        )
        if earlier:
            earlier.finish(processes)
        earlier = started
    if earlier:
        earlier.finish(processes)


@dataclass(frozen=True, kw_only=True)
class _Transfer:
    """One bucket on its way: its gradients, their values in one row, and what to wait for."""

    bucket: list[Tensor]
    flat: Tensor
    work: distributed.Work

    def finish(self, processes: int) -> None:
        """Wait for the sum, and put the mean where the gradients are."""
        self.work.wait()
        parts = torch.split(
            self.flat.div_(processes), [gradient.numel() for gradient in self.bucket]
        )
        means = [
            part.view(gradient.shape) for part, gradient in zip(parts, self.bucket, strict=True)
        ]
        torch._foreach_copy_(self.bucket, means)


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The gradients in their order, as many together as fit; one type and one device in each."""
    bucket: list[Tensor] = []
    held = 0
    for gradient in gradients:
        kind = (gradient.dtype, gradient.device)
        if bucket and (
            held + gradient.nbytes > BUCKET or kind != (bucket[0].dtype, bucket[0].device)
        ):
            yield bucket
            bucket, held = [], 0
        bucket.append(gradient)
        held += gradient.nbytes
    if bucket:
        yield bucket
