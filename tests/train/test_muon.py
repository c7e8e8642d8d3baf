"""Muon: orthogonal updates for kernels."""

import pytest
import torch
from torch import nn

from addsr_cli.train.muon import COEFFICIENTS, ITERATIONS, RMS_OF_ADAM, Muon, orthogonalise


def newton_schulz(matrix):
    """The iteration as its inventors wrote it, on the matrix itself, in float64."""
    a, b, c = COEFFICIENTS
    x = matrix.double() / matrix.double().norm()
    x = x.T if x.shape[0] > x.shape[1] else x
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(4, 36), (16, 16), (48, 9), (1, 5), (5, 1)])
def test_the_iteration_on_the_gram_matrix_is_that_on_the_matrix(shape):
    matrix = torch.randn(shape)
    assert torch.allclose(orthogonalise(matrix).double(), newton_schulz(matrix), atol=1e-4)


def test_singular_values_become_about_one_and_directions_stay():
    matrix = torch.randn(12, 60)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    singular = torch.diag(u.T @ orthogonalise(matrix) @ v.T)
    assert 0.6 < singular.min() <= singular.max() < 1.3
    assert torch.allclose(orthogonalise(matrix), u @ torch.diag(singular) @ v, atol=1e-4)


def test_the_size_of_the_gradient_does_not_matter():
    matrix = torch.randn(6, 30)
    assert torch.allclose(orthogonalise(matrix), orthogonalise(1e-4 * matrix), atol=1e-4)


def test_nothing_moves_without_a_gradient():
    assert torch.equal(orthogonalise(torch.zeros(3, 5)), torch.zeros(3, 5))
    weight = nn.Parameter(torch.randn(4, 2, 3, 3))
    before = weight.detach().clone()
    Muon([weight], lr=1.0).step()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("shape", [(16, 16, 3, 3), (64, 4, 1, 1), (8, 32, 2, 2)])
def test_an_update_is_about_as_large_as_one_of_adam(shape):
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape)
    Muon([weight], lr=0.01).step()
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.01 * RMS_OF_ADAM, rel=0.25)


def test_the_memory_layout_of_a_kernel_does_not_matter():
    kernel, grad = torch.randn(8, 8, 3, 3), torch.randn(8, 8, 3, 3)
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(kernel.clone(memory_format=layout))
        weight.grad = grad.clone(memory_format=layout)
        Muon([weight], lr=0.1).step()
        moved.append(weight.detach())
    assert torch.allclose(*moved, atol=1e-5)


def test_it_goes_downhill():
    torch.manual_seed(1)
    weight, target = nn.Parameter(torch.randn(4, 4, 1, 1)), torch.randn(4, 4, 1, 1)
    muon = Muon([weight], lr=0.1)
    start = (weight - target).square().mean().item()
    for _ in range(100):
        muon.zero_grad()
        (weight - target).square().mean().backward()
        muon.step()
    assert (weight - target).square().mean().item() < 0.1 * start
