"""The average follows, and lends itself out without a trace."""

import pytest
import torch
from torch import nn

from addsr_cli.train.ema import Ema


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def shifted(module, by):
    with torch.no_grad():
        for p in module.parameters():
            p.add_(by)


def test_it_starts_as_a_copy_of_its_own(module):
    ema, before = Ema(module, 0.9), module.weight.detach().clone()
    shifted(module, 1)
    assert torch.equal(ema.shadow["weight"], before)


def test_updates_are_the_textbook_formula(module):
    ema, expected = Ema(module, 0.5), module.weight.detach().clone()
    for n in range(1, 20):
        shifted(module, 0.1)
        ema.update(module)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    assert torch.allclose(ema.shadow["weight"], expected, atol=1e-6)


def test_the_module_gets_its_own_weights_back_bit_for_bit(module):
    ema, own = Ema(module, 0.9), module.weight.detach().clone() + 1 / 3
    shifted(module, 1 / 3)
    with ema.applied(module):
        assert torch.equal(module.weight, ema.shadow["weight"])
    assert torch.equal(module.weight, own)


def test_also_after_a_failure(module):
    ema = Ema(module, 0.9)
    shifted(module, 1)
    own = module.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), ema.applied(module):
        _ = 1 / 0
    assert torch.equal(module.weight, own)


def test_it_goes_on_from_its_state(module):
    ema, other = Ema(module, 0.9), Ema(module, 0.9)
    for by in (0.1, 0.2):
        shifted(module, by)
        ema.update(module)
    other.load_state_dict(ema.state_dict())
    assert other.updates == 2
    assert torch.equal(other.shadow["weight"], ema.shadow["weight"])


def test_it_is_float32_beside_a_narrow_module(module):
    module.half()
    ema = Ema(module, 0.9)
    ema.update(module)
    assert ema.shadow["weight"].dtype == torch.float32
    with ema.applied(module):
        assert module.weight.dtype == torch.float16
