"""Two processes that average their gradients learn what one learns from the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed as dist

from reference.losses.gather import gather, mean
from reference.losses.grounding import grounding_loss
from tests.processes import Running, free_port

PROCESSES = 2
#: The captions with words; the processes hold the first and the second half.
VALID = torch.tensor([True, True, False, True])


def _embeddings() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    masks = torch.randn(3, 4, 5, 6, generator=generator).requires_grad_()
    words = torch.randn(4, 2, 6, generator=generator).requires_grad_()
    return masks, words, torch.tensor(2.0, requires_grad=True)


def _process(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=PROCESSES)
    masks, words, scale = _embeddings()
    own = slice(2 * rank, 2 * rank + 2)
    losses = grounding_loss(masks[:, own], words[own], VALID[own], scale)
    losses.sum().backward()
    gathered = gather(words[own])
    average = mean(torch.tensor(float(rank)))
    gradients = [x.grad for x in (masks, words, scale)]
    torch.save((losses.detach(), gradients, gathered.detach(), average), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    folder = tmp_path_factory.mktemp("gather")
    port = free_port()
    started = [Running(_process, rank, port, folder) for rank in range(PROCESSES)]
    for one in started:
        ended = one.wait()
        assert ended.status == 0, ended.output
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


def test_losses_averaged_over_processes_are_those_of_the_whole_batch(processes: list[tuple]):
    masks, words, scale = _embeddings()
    whole = grounding_loss(masks, words, VALID, scale)
    torch.testing.assert_close((processes[0][0] + processes[1][0]) / 2, whole.detach())
    assert not torch.allclose(processes[0][0], whole.detach())


def test_gradients_averaged_over_processes_are_those_of_the_whole_batch(processes: list[tuple]):
    masks, words, scale = _embeddings()
    grounding_loss(masks, words, VALID, scale).sum().backward()
    for index, whole in enumerate((masks.grad, words.grad, scale.grad)):
        average = (processes[0][1][index] + processes[1][1][index]) / 2
        torch.testing.assert_close(average, whole)


def test_every_process_has_the_embeddings_of_all_in_order(processes: list[tuple]):
    _, words, _ = _embeddings()
    assert all(torch.equal(gathered, words) for _, _, gathered, _ in processes)


def test_the_number_of_masks_is_the_mean_over_processes(processes: list[tuple]):
    assert [average.item() for *_, average in processes] == [0.5, 0.5]


def test_one_process_alone_exchanges_nothing():
    words = _embeddings()[1]
    assert gather(words) is words
    assert mean(torch.tensor(3.0)).item() == 3.0
