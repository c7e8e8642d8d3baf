"""The moving average: its formula, applying it temporarily, and its state."""

import pytest
import torch
from torch import nn

from addsr_cli.train.optim.ema import Ema


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def average(module, decay=0.9, **more):
    return Ema(dict(module.named_parameters()), decay, **more)


def shifted(module, by):
    with torch.no_grad():
        for p in module.parameters():
            p.add_(by)


def test_it_starts_as_a_copy_of_its_own(module):
    ema, before = average(module), module.weight.detach().clone()
    shifted(module, 1)
    assert torch.equal(ema.shadow["weight"], before)


def test_updates_are_the_textbook_formula(module):
    ema, expected = average(module, 0.5), module.weight.detach().clone()
    for n in range(1, 20):
        shifted(module, 0.1)
        ema.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    assert torch.allclose(ema.shadow["weight"], expected, atol=1e-6)


def test_the_weights_are_restored_bit_for_bit_afterwards(module):
    ema, own = average(module), module.weight.detach().clone() + 1 / 3
    shifted(module, 1 / 3)
    with ema.applied():
        assert torch.equal(module.weight, ema.shadow["weight"])
    assert torch.equal(module.weight, own)


def test_the_weights_are_restored_after_a_failure(module):
    ema = average(module)
    shifted(module, 1)
    own = module.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), ema.applied():
        _ = 1 / 0
    assert torch.equal(module.weight, own)


def test_it_resumes_from_its_state(module):
    ema, other = average(module), average(module)
    for by in (0.1, 0.2):
        shifted(module, by)
        ema.update()
    other.load_state_dict(ema.state_dict())
    assert other.updates == 2
    assert torch.equal(other.shadow["weight"], ema.shadow["weight"])


def test_it_is_float32_beside_a_narrow_module(module):
    module.half()
    ema = average(module)
    ema.update()
    assert ema.shadow["weight"].dtype == torch.float32
    with ema.applied():
        assert module.weight.dtype == torch.float16


def test_constant_weights_are_their_own_average(module):
    ema = average(module)
    for _ in range(10):
        ema.update()
    assert torch.equal(ema.shadow["weight"], module.weight)


def test_it_adapts_quickly_at_first_and_with_its_decay_later(module):
    ema, start = average(module, 0.99), module.weight.detach().clone()
    shifted(module, 1)
    ema.update()
    assert torch.allclose(ema.shadow["weight"], start + 9 / 11)
    ema.updates = 1_000_000
    ema.update()
    assert torch.allclose(ema.shadow["weight"], start + 9 / 11 + 0.01 * 2 / 11)


def test_it_may_be_on_another_device_than_the_weights(module):
    ema, elsewhere = average(module), average(module, device="cpu")
    shifted(module, 0.1)
    for copy in (ema, elsewhere):
        copy.update()
    assert torch.equal(ema.shadow["weight"], elsewhere.shadow["weight"])
    assert elsewhere.shadow["weight"].device.type == "cpu"


def test_a_state_of_other_weights_is_refused(module):
    with pytest.raises(KeyError):
        average(module).load_state_dict({"updates": 1, "shadow": {"other": torch.zeros(2)}})
