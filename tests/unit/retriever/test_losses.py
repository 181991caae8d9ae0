"""DFR and BCE: which frames are pulled to the query, which are pushed away, and which are ignored."""

import torch

from m3l.retriever.losses import bce_loss, dfr_loss, negative_mask


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


def test_a_masked_negative_adds_neither_loss_nor_gradient():
    negatives = torch.tensor([0.5, 9.0], requires_grad=True)
    loss = dfr_loss(torch.tensor([1.0]), negatives, torch.tensor([True, False]))
    loss.sum().backward()
    assert torch.allclose(loss, dfr_loss(torch.tensor([1.0]), torch.tensor([0.5])))
    assert negatives.grad[0] > 0 and negatives.grad[1] == 0


def test_without_negatives_the_loss_is_zero():
    positives = torch.tensor([1.0], requires_grad=True)
    loss = dfr_loss(positives, torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    loss.sum().backward()
    assert loss == 0 and positives.grad == 0


def test_bce_is_lower_for_correct_labels():
    similarity, bias = torch.tensor([4.0, -4.0]), torch.tensor(0.0)
    right, wrong = (bce_loss(similarity, torch.tensor(y), bias) for y in ([True, False], [False, True]))
    assert (right < wrong).all()


def test_negatives_are_a_posts_own_unlabelled_frames_and_all_frames_of_others():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    labels = torch.tensor([[True, False, False], [False, True, False]])
    all_masks = torch.cat([torch.tensor([[True, False, False]]), mask])  # another rank's post comes first
    negatives = negative_mask(labels, mask, all_masks, first=1)
    assert negatives.tolist() == [
        [[True, False, False], [False, True, False], [True, True, True]],
        [[True, False, False], [True, True, False], [True, False, True]],
    ]
