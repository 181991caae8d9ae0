"""DFR and BCE: which frame is pulled, which is pushed, and which is left alone."""

import torch

from m3l.retriever.losses import bce_loss, dfr_loss, negatives_of


def test_dfr_loss_prefers_the_positive_frame():
    negatives = torch.tensor([0.0, 1.0])
    near, far = dfr_loss(torch.tensor([3.0]), negatives), dfr_loss(torch.tensor([-3.0]), negatives)
    assert near < far
    assert torch.allclose(near, -torch.log_softmax(torch.tensor([3.0, 0.0, 1.0]), 0)[0])


def test_one_positive_is_never_anothers_negative():
    positives = torch.tensor([2.0, -1.0], requires_grad=True)
    first, _ = dfr_loss(positives, torch.tensor([0.5]))
    first.backward()
    assert positives.grad[0] < 0 and positives.grad[1] == 0


def test_a_frame_that_is_not_there_neither_counts_nor_learns():
    negatives = torch.tensor([0.5, 9.0], requires_grad=True)
    loss = dfr_loss(torch.tensor([1.0]), negatives, torch.tensor([True, False]))
    loss.sum().backward()
    assert torch.allclose(loss, dfr_loss(torch.tensor([1.0]), torch.tensor([0.5])))
    assert negatives.grad[0] > 0 and negatives.grad[1] == 0


def test_without_any_negative_there_is_nothing_to_lose():
    positives = torch.tensor([1.0], requires_grad=True)
    loss = dfr_loss(positives, torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    loss.sum().backward()
    assert loss == 0 and positives.grad == 0


def test_bce_is_least_where_the_label_says_so():
    similarity, bias = torch.tensor([4.0, -4.0]), torch.tensor(0.0)
    right, wrong = (bce_loss(similarity, torch.tensor(y), bias) for y in ([True, False], [False, True]))
    assert (right < wrong).all()


def test_negatives_are_ones_own_other_frames_and_all_frames_of_others():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    labels = torch.tensor([[True, False, False], [False, True, False]])
    everyone = torch.cat([torch.tensor([[True, False, False]]), mask])  # another rank's post comes first
    found = negatives_of(labels, mask, everyone, first=1)
    assert found.tolist() == [
        [[True, False, False], [False, True, False], [True, True, True]],
        [[True, False, False], [True, True, False], [True, False, True]],
    ]
