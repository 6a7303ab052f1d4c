"""A loss with pixels that are not known is the loss of those that are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from napari_vstain.core.training.objective import loss_of


class Summed(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).square().sum()


class Averaged(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).abs().mean()


@given(
    seed=st.integers(0, 99),
    share=st.floats(0.01, 0.99),
    loss=st.sampled_from([nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss]),
    reduction=st.sampled_from(["mean", "sum"]),
)
def test_what_is_not_known_does_not_count_whatever_the_reduction(seed, share, loss, reduction):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randn(2, 1, 5, 6, generator=generator, requires_grad=True)
    target, valid = torch.rand(2, 1, 5, 6, generator=generator), torch.rand(2, 1, 5, 6, generator=generator) < share
    if not valid.any():
        return
    made = loss_of(loss(reduction=reduction), prediction, torch.where(valid, target, 99.0), valid)
    wanted = loss(reduction=reduction)(prediction[valid], target[valid])
    assert float(made.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    ours, theirs = (torch.autograd.grad(value, prediction)[0] for value in (made, wanted))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("loss", [Summed(), Averaged()])
def test_a_loss_of_ones_own_sums_or_averages_what_is_known(loss):
    prediction, target = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    valid = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    valid[0, 0, :2] = True
    assert float(loss_of(loss, prediction, target, valid)) == (8 if isinstance(loss, Summed) else 1)


def test_a_map_becomes_its_mean_over_what_is_known():
    prediction, target = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    valid = torch.tensor([[[[True, False], [False, False]]]])
    assert float(loss_of(nn.MSELoss(reduction="none"), prediction, target, valid)) == 1
    assert float(loss_of(nn.MSELoss(reduction="none"), prediction, target, None)) == 1
    assert float(loss_of(nn.MSELoss(), prediction, target, torch.zeros_like(valid))) == 0
