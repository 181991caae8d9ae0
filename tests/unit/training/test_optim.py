"""The optimisers: which parameters Muon takes, and that both optimisers learn."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from m3l.config import TrainConfig
from m3l.training.optim import Muon, build_optimiser, orthogonalise


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 3))


@pytest.mark.parametrize("shape", [(6, 12), (12, 6), (8, 8)])
def test_orthogonalise_pulls_singular_values_towards_one_and_keeps_the_directions(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    result = orthogonalise(matrices, iterations=5)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.5 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(result.flatten(1), (u @ v).flatten(1)).min() > 0.95


def test_muon_takes_matrices_and_leaves_embeddings_and_vectors_to_adam() -> None:
    net = model()
    optimiser = build_optimiser(net, TrainConfig(optimiser="muon"))
    net(torch.tensor([0, 1, 2])).sum().backward()
    optimiser.step()
    states = {name: set(optimiser.state[parameter]) for name, parameter in net.named_parameters()}
    assert {name for name, state in states.items() if "momentum" in state} == {"1.weight", "3.weight"}
    assert all("exp_avg" in states[name] for name in ("0.weight", "1.bias", "3.bias"))


def test_muon_leaves_parameters_without_a_gradient_unchanged() -> None:
    net = model()
    optimiser = build_optimiser(net, TrainConfig(optimiser="muon"))
    before = net[3].weight.detach().clone()
    net[1](torch.randn(2, 8)).sum().backward()
    optimiser.step()
    assert torch.equal(net[3].weight, before) and not optimiser.state[net[3].weight]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_optimiser_fits_a_small_table(name: str) -> None:
    net, tokens, target = model(), torch.arange(5), torch.tensor([0, 1, 2, 0, 1])
    optimiser = build_optimiser(net, TrainConfig(optimiser=name, lr=0.02))
    for _ in range(60):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(tokens), target)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05


def test_training_resumed_from_a_saved_state_ends_alike() -> None:
    def run(optimiser: Muon, net: nn.Module, steps: int) -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            net(torch.arange(5)).square().sum().backward()
            optimiser.step()

    first, second = model(), model()
    one, other = (build_optimiser(net, TrainConfig(optimiser="muon")) for net in (first, second))
    run(one, first, 3)
    second.load_state_dict(first.state_dict())
    other.load_state_dict(deepcopy(one.state_dict()))  # it would share the tensors
    run(one, first, 2)
    run(other, second, 2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
