"""A loss with pixels that are not known is the loss of those that are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from napari_vstain.core.training.objective import Objective, loss_of
from napari_vstain.core.training.tensors import Batch


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


@given(seed=st.integers(0, 99))
def test_a_weight_counts_a_pixel_as_if_it_were_there_so_often(seed):
    generator = torch.Generator().manual_seed(seed)
    prediction, target = torch.randn(1, 1, 4, 4, generator=generator), torch.randn(1, 1, 4, 4, generator=generator)
    often = torch.randint(0, 4, (1, 1, 4, 4), generator=generator)
    made = loss_of(nn.L1Loss(), prediction, target, often.float())
    repeated = [value.flatten().repeat_interleave(often.flatten()) for value in (prediction, target)]
    wanted = (repeated[0] - repeated[1]).abs().sum() / max(int(often.sum()), 1)
    assert float(made) == pytest.approx(float(wanted), rel=1e-5)


def test_the_total_is_the_weighted_sum_over_tasks_and_a_border_beyond_the_target_is_context():
    objective = Objective({"a": nn.L1Loss(), "b": nn.MSELoss()}, {"b": 0.25})
    made = {"a": torch.full((1, 1, 6, 6), 9.0), "b": torch.full((1, 2, 6, 6), 2.0)}
    made["a"][..., 1:-1, 1:-1] = 3
    targets = {"a": torch.zeros(1, 1, 4, 4), "b": torch.zeros(1, 2, 6, 6)}
    losses = objective(made, Batch(torch.zeros(1, 1, 6, 6), targets, {}))
    assert {task: float(value) for task, value in losses.by_task.items()} == {"a": 3, "b": 4}
    assert float(losses.total) == 3 + 0.25 * 4
