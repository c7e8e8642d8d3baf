"""Muon: every direction of a kernel moves equally far, by a share of the kernel's size."""

from copy import deepcopy

import torch
from torch import nn

from addsr_cli.train.optim.muon import ADAM_SHARE, Muon, is_kernel, orthogonalized
from addsr_cli.train.optim.optimizer_step import optimizers


def convolution(seed=0):
    torch.manual_seed(seed)
    return nn.Conv2d(6, 8, 3)


def update(net, optimizer, seed):
    torch.manual_seed(seed)
    optimizer.zero_grad()
    net(torch.rand(2, 6, 5, 5)).square().mean().backward()
    optimizer.step()


def test_singular_values_that_span_a_decade_come_near_one():
    torch.manual_seed(0)
    matrix = torch.randn(8, 54) * torch.logspace(-0.5, 0.5, 8)[:, None]
    values = torch.linalg.svdvals(orthogonalized(matrix))
    assert values.max() < 1.3
    assert values.min() > 0.3


def test_a_step_moves_a_kernel_by_the_rate_times_its_first_norm():
    net = convolution()
    before = net.weight.detach().clone()
    optimizer = Muon([net.weight], lr=0.01)
    update(net, optimizer, seed=1)
    first = net.weight.detach().clone()
    torch.testing.assert_close((first - before).norm(), 0.01 * before.norm())
    update(net, optimizer, seed=2)
    torch.testing.assert_close((net.weight - first).norm(), 0.01 * before.norm())


def test_a_restored_optimizer_goes_on_as_if_it_had_not_stopped():
    net = convolution()
    optimizer = Muon([net.weight], lr=0.01)
    update(net, optimizer, seed=1)
    other = deepcopy(net)
    restored = Muon([other.weight], lr=0.5)
    restored.load_state_dict(deepcopy(optimizer.state_dict()))
    update(net, optimizer, seed=2)
    update(other, restored, seed=2)
    assert torch.equal(net.weight, other.weight)


def test_a_kernel_without_a_gradient_stays():
    net = convolution()
    before = net.weight.detach().clone()
    Muon([net.weight], lr=0.01).step()
    assert torch.equal(net.weight, before)


def test_biases_zeros_and_the_layer_that_makes_pixels_are_trained_by_adamw():
    net = nn.Sequential(convolution(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 3, 3))
    nn.init.zeros_(net[1].weight)
    assert [is_kernel(p) for p in net.parameters()] == [True, False, False, False, False, False]
    muon, adamw = optimizers("muon", [{"params": list(net.parameters())}], 1e-3, 0.0)
    (group,) = adamw.param_groups
    assert muon.param_groups[0]["params"] == [net[0].weight]
    assert len(group["params"]) == 5
    assert group["lr_scale"] == ADAM_SHARE


def test_adamw_alone_has_every_parameter():
    net = convolution()
    (adamw,) = optimizers("adamw", [{"params": list(net.parameters())}], 1e-3, 0.01)
    assert len(adamw.param_groups[0]["params"]) == 2
