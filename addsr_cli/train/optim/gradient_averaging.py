"""Average gradients over processes in large buckets; one is sent while the next is packed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

BUCKET = 64 * 2**20  # bytes; large enough to hide latency, and at most two exist at a time


def average(gradients: Sequence[Tensor], processes: int) -> None:
    """Replace every gradient by its mean over all ``processes``, in place.

    All processes must pass the same gradients in the same order.
    """
    previous: _Transfer | None = None
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        work = distributed.all_reduce(flat, async_op=True)
        if previous:
            previous.finish(processes)
        previous = _Transfer(bucket=bucket, flat=flat, work=work)
    if previous:
        previous.finish(processes)


@dataclass(frozen=True, kw_only=True)
class _Transfer:
    """A bucket that is being summed: its gradients, their flat copy, and the pending work."""

    bucket: list[Tensor]
    flat: Tensor
    work: distributed.Work

    def finish(self, processes: int) -> None:
        """Wait for the sum and copy the mean back to the gradients."""
        self.work.wait()
        sizes = [gradient.numel() for gradient in self.bucket]
        chunks = torch.split(self.flat.div_(processes), sizes)
        means = [
            chunk.view(gradient.shape) for chunk, gradient in zip(chunks, self.bucket, strict=True)
        ]
        torch._foreach_copy_(self.bucket, means)


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Group gradients in order, up to ``BUCKET`` bytes of one dtype and device."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        full = size + gradient.nbytes > BUCKET
        if bucket and (full or not _alike(gradient, bucket[0])):
            yield bucket
            bucket = []
            size = 0
        bucket.append(gradient)
        size += gradient.nbytes
    if bucket:
        yield bucket


def _alike(a: Tensor, b: Tensor) -> bool:
    return (a.dtype, a.device) == (b.dtype, b.device)
