"""Add gradients over processes in large buckets; one is sent while the next is packed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

BUCKET = 64 * 2**20  # bytes; large enough to hide latency, and at most two exist at a time


def add_over_processes(parameters: Sequence[nn.Parameter]) -> None:
    """Replace every gradient by its sum over all processes, in place.

    All processes must pass the same parameters in the same order. One that has no gradient in some
    of them counts as zero there, and keeps none where no process has one.
    """
    if not parameters:
        return
    used = torch.tensor(
        [p.grad is not None for p in parameters],
        dtype=torch.uint8,
        device=parameters[0].device,
    )
    distributed.all_reduce(used, op=distributed.ReduceOp.MAX)
    gradients = []
    for p, somewhere in zip(parameters, used.tolist(), strict=True):
        if somewhere:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            gradients.append(p.grad)
    _add(gradients)


def _add(gradients: Sequence[Tensor]) -> None:
    previous: _Transfer | None = None
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        work = distributed.all_reduce(flat, async_op=True)
        if previous:
            previous.finish()
        previous = _Transfer(bucket=bucket, flat=flat, work=work)
    if previous:
        previous.finish()


@dataclass(frozen=True, kw_only=True)
class _Transfer:
    """A bucket that is being summed: its gradients, their flat copy, and the pending work."""

    bucket: list[Tensor]
    flat: Tensor
    work: distributed.Work

    def finish(self) -> None:
        """Wait for the sum and copy it back to the gradients."""
        self.work.wait()
        sizes = [gradient.numel() for gradient in self.bucket]
        chunks = torch.split(self.flat, sizes)
        sums = [
            chunk.view(gradient.shape) for chunk, gradient in zip(chunks, self.bucket, strict=True)
        ]
        torch._foreach_copy_(self.bucket, sums)


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
