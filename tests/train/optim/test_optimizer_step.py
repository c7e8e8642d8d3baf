"""From gradients to weights: averaged, clipped, checked."""

import pytest
import torch
from accelerate import Accelerator
from torch import distributed, nn

from addsr_cli.errors import AddsrError
from addsr_cli.train.optim import gradient_sum
from addsr_cli.train.optim.gradient_sum import add_over_processes
from addsr_cli.train.optim.optimizer_step import OptimizerStep, adamw


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


def optimizer_step(net, clip=None, precision="no", optimiser=None):
    parameters = dict(net.named_parameters())
    optimizer = optimiser or adamw(parameters.values(), 0.1, 0.01)
    return OptimizerStep(
        "student", parameters, [optimizer], Accelerator(cpu=True, mixed_precision=precision), clip
    )


def weights(net):
    return [p.detach().clone() for p in net.parameters()]


def moved(net, before):
    return any(not torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_raises_before_any_update(net, value):
    update, before = optimizer_step(net), weights(net)
    with pytest.raises(AddsrError, match=f"loss of the student became {value}") as caught:
        update.backward(net(torch.ones(1, 4)).sum() * value)
    assert "resume" in caught.value.hint
    assert not moved(net, before)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(("value", "clip"), [(float("nan"), None), (float("inf"), 1.0)])
def test_a_gradient_that_is_not_finite_raises_with_the_name_of_its_weights(net, value, clip):
    update, before = optimizer_step(net, clip), weights(net)
    update.backward(net(torch.ones(1, 4)).sum())
    net[1].weight.grad[0, 0] = value
    with pytest.raises(AddsrError, match=rf"gradient of 1\.weight in the student became {value}"):
        update.step(0.1)
    assert not moved(net, before)


def test_gradients_are_clipped_together_and_the_norm_before_is_returned(net):
    update = optimizer_step(net, clip=0.5, optimiser=torch.optim.SGD(net.parameters(), 1.0))
    before = weights(net)
    update.backward(100 * net(torch.ones(1, 4)).sum())
    norm = torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item()
    assert update.step(1.0) == pytest.approx(norm)
    way = torch.cat([(p - old).flatten() for p, old in zip(net.parameters(), before, strict=True)])
    assert norm > 100
    assert way.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_small_gradients_are_not_clipped(net):
    update = optimizer_step(net, clip=1e6, optimiser=torch.optim.SGD(net.parameters(), 1.0))
    before = weights(net)
    update.backward(net(torch.ones(1, 4)).sum())
    gradients = [p.grad.clone() for p in net.parameters()]
    update.step(0.5)
    assert all(
        torch.allclose(p, old - 0.5 * g)
        for p, old, g in zip(net.parameters(), before, gradients, strict=True)
    )


def test_a_step_clears_the_gradients_and_sets_the_learning_rate(net):
    update = optimizer_step(net)
    update.backward(net(torch.ones(1, 4)).sum())
    update.step(0.03)
    assert all(p.grad is None for p in net.parameters())
    assert [group["lr"] for group in update.optimizers[0].param_groups] == [0.03]


def test_half_precision_steps_equal_single_precision_and_skip_overflows(net):
    update = optimizer_step(
        net, clip=0.5, precision="fp16", optimiser=torch.optim.SGD(net.parameters(), 1.0)
    )
    before = weights(net)
    update.backward(net(torch.ones(1, 4)).sum())
    assert net[1].bias.grad.max() == update.scaler.get_scale() > 1000
    assert update.step(1.0) < 100
    assert moved(net, before)
    before, scale = weights(net), update.scaler.get_scale()
    update.backward(net(torch.ones(1, 4)).sum())
    net[0].weight.grad[0, 0] = float("inf")
    assert update.step(1.0) == float("inf")
    assert not moved(net, before)
    assert update.scaler.get_scale() == scale / 2


def test_the_state_restores_moments_and_loss_scale(net, same):
    update = optimizer_step(net, precision="fp16")
    update.scaler.scale(torch.ones(1))
    update.backward(net(torch.ones(1, 4)).sum())
    update.step(0.1)
    other = optimizer_step(net, precision="fp16")
    assert not same(other.state_dict(), update.state_dict())
    other.load_state_dict(update.state_dict())
    assert same(other.state_dict(), update.state_dict())


def test_the_optimiser_is_that_of_the_released_trainer(net):
    (group,) = adamw(net.parameters(), 2e-5, 0.01).param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (
        2e-5,
        (0.9, 0.999),
        1e-8,
        1e-2,
    )


class Twin:
    """Stand in for an all-reduce with a process whose numbers are three times as large."""

    def __init__(self, monkeypatch, *, unused_there=()):
        self.sizes, self.open, self.most = [], 0, 0
        self.unused_there = unused_there
        monkeypatch.setattr(distributed, "all_reduce", self.all_reduce)

    def all_reduce(self, flat, op=None, async_op=False):
        if not async_op:  # which gradients the other process has
            for k in range(len(flat)):
                flat[k] = max(int(flat[k]), k not in self.unused_there)
            return None
        self.sizes.append(flat.numel())
        self.open += 1
        self.most = max(self.most, self.open)
        twin = self

        class Work:
            def wait(self):
                flat.mul_(4)
                twin.open -= 1

        return Work()


def with_gradients(*gradients):
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = gradient
    return parameters


def test_gradients_are_added_in_few_transfers_with_at_most_two_pending(monkeypatch):
    monkeypatch.setattr(gradient_sum, "BUCKET", 4 * 1000)
    shapes = [(10, 20), (700,), (3, 5, 2, 2), (1500,), (), (8, 8, 3, 3)]
    gradients = [torch.randn(shape) for shape in shapes]
    gradients[-1] = gradients[-1].contiguous(memory_format=torch.channels_last)
    before, pointers, twin = (
        [g.clone() for g in gradients],
        [g.data_ptr() for g in gradients],
        Twin(monkeypatch),
    )
    add_over_processes(with_gradients(*gradients))
    assert twin.sizes == [960, 1500, 1 + 8 * 8 * 9]
    assert (twin.open, twin.most) == (0, 2)
    assert [g.data_ptr() for g in gradients] == pointers
    assert all(torch.allclose(after, 4 * old) for after, old in zip(gradients, before, strict=True))


def test_gradients_of_different_types_are_not_mixed_in_a_bucket(monkeypatch):
    twin, gradients = (
        Twin(monkeypatch),
        [torch.ones(3), torch.ones(4, dtype=torch.bfloat16), torch.ones(5)],
    )
    add_over_processes(with_gradients(*gradients))
    assert twin.sizes == [3, 4, 5]
    assert all((g == 4).all() for g in gradients)


def test_a_gradient_that_one_process_lacks_is_zero_there(monkeypatch):
    twin = Twin(monkeypatch, unused_there=(1, 2))
    parameters = with_gradients(torch.ones(3), torch.ones(4), torch.ones(5), torch.ones(6))
    parameters[1].grad = parameters[3].grad = None
    add_over_processes(parameters)
    assert twin.sizes == [3 + 5 + 6]
    assert [None if p.grad is None else p.grad.max().item() for p in parameters] == [4, None, 4, 0]


def test_without_parameters_nothing_is_transferred(monkeypatch):
    twin = Twin(monkeypatch)
    add_over_processes([])
    assert twin.sizes == []
