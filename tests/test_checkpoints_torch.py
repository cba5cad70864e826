from __future__ import annotations

import subprocess
import sys
import uuid

import numpy as np
import pytest
import safetensors.torch
import torch

from lamarck._errors import CheckpointError, MissingExtra
from lamarck.checkpoints import FolderCheckpoints, MemoryCheckpoints, RemoteCheckpoints


@pytest.fixture(params=["memory", "folder", "remote"])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryCheckpoints()
    return FolderCheckpoints(tmp_path) if request.param == "folder" else RemoteCheckpoints(f"memory://{uuid.uuid4()}")


KINDS = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_every_kind_of_number(store, dtype):
    tensor = torch.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype)
    back = store.get(store.put(0, 0, {"x": tensor, "scalar": tensor[1, 2], "empty": tensor[:0]}))
    for key, expected in (("x", tensor), ("scalar", tensor[1, 2]), ("empty", tensor[:0])):
        assert back[key].dtype == dtype
        assert back[key].shape == expected.shape
        assert bits(back[key]) == bits(expected)
        assert type(back[key]) is torch.Tensor
        assert not back[key].requires_grad


def test_tensors_as_they_lie_in_memory(store):
    base = torch.arange(24.0).reshape(2, 3, 4)
    shared = torch.arange(3.0)
    shared.share_memory_()
    weight = torch.nn.Parameter(torch.ones(2))
    state = {
        "transposed": base.permute(2, 0, 1),
        "strided": base[:, ::2, 1:3],
        "expanded": torch.ones(1).expand(3, 4),
        "shared": shared,
        "parameter": weight,
        "with a graph": weight * 2,
        "conjugate": torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex64).conj(),
        "negative": torch.tensor([1 + 2j], dtype=torch.complex64).conj().imag,
        "twice": [base, base],
        "tuple": (torch.tensor(1), [np.ones(2)]),
    }
    back = store.get(store.put(0, 0, state))
    for key in list(state)[:8]:
        assert torch.equal(back[key], state[key].detach()), key
    assert torch.equal(back["twice"][0], base)
    assert torch.equal(back["twice"][1], base)
    assert back["tuple"][0].shape == ()
    assert type(back["tuple"][1][0]) is np.ndarray
    back["shared"][:] = 7  # memory of its own, which can be trained on
    assert shared.tolist() == [0, 1, 2]
    back["expanded"].add_(1)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.eye(2).to_sparse(), "layout torch.sparse_coo"),
        (torch.empty(2, device="meta"), "device meta"),
        (torch.zeros(2, dtype=torch.complex128), "got a tensor of torch.complex128"),
    ],
    ids=["sparse", "meta", "complex128"],
)
def test_tensors_that_cannot_be_kept(store, tensor, message):
    with pytest.raises(CheckpointError, match=rf"^state\['a'\]\[0\]: .*{message}.*; tensors must be dense, hold data, and be of bool, "):
        store.put(0, 0, {"a": [tensor]})
    assert store.names() == []


def build():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": [*model[1].parameters(), *model[3].parameters()]}], lr=0.01
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    return model, optimizer, scheduler, torch.Generator().manual_seed(3)


def train(parts, steps):
    model, optimizer, scheduler, generator = parts
    losses = []
    for _ in range(steps):
        x = torch.randn(16, 4, generator=generator)
        model[2].eval()  # its randomness is torch's own; ours is the generator
        loss = (model(x) - x[:, :2]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def test_training_goes_on_as_if_it_had_not_been_interrupted(store):
    parts = build()
    train(parts, 5)
    name = store.put(
        0,
        0,
        {
            "model": parts[0].state_dict(),
            "optimizer": parts[1].state_dict(),
            "scheduler": parts[2].state_dict(),
            "generator": parts[3].get_state(),
        },
    )
    rest = train(parts, 5)

    state, fresh = store.get(name), build()
    fresh[0].load_state_dict(state["model"])
    fresh[1].load_state_dict(state["optimizer"])
    fresh[2].load_state_dict(state["scheduler"])
    fresh[3].set_state(state["generator"])
    assert train(fresh, 5) == rest
    for key, value in parts[0].state_dict().items():
        assert torch.equal(value, fresh[0].state_dict()[key])

    again = store.get(name)  # training on what was got did not reach into the store
    assert torch.equal(again["model"]["0.weight"], state["model"]["0.weight"])
    other = build()
    other[1].load_state_dict(again["optimizer"])
    assert other[1].state_dict()["state"][0]["step"].item() == 5


def test_other_libraries_read_the_weights(tmp_path):
    model = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    name = FolderCheckpoints(tmp_path).put(0, 0, {"model": model.state_dict()})
    loaded = safetensors.torch.load_file(tmp_path / f"{name}.safetensors")
    assert set(loaded) == {"model.weight", "model.bias"}
    assert torch.equal(loaded["model.weight"], model.weight)


def test_torch_is_imported_for_tensors_only(tmp_path):
    """A process that has not imported torch reads a checkpoint without tensors without it, and one with tensors by importing it."""
    store = FolderCheckpoints(tmp_path)
    plain, tensors = store.put(0, 0, {"x": np.ones(2)}), store.put(0, 1, {"x": torch.ones(2)})
    script = f"""
import sys
from lamarck.checkpoints import FolderCheckpoints
store = FolderCheckpoints({str(tmp_path)!r})
assert store.get({plain!r})["x"].tolist() == [1, 1]
assert "torch" not in sys.modules
assert store.get({tensors!r})["x"].tolist() == [1, 1]
assert type(store.get({tensors!r})["x"]) is sys.modules["torch"].Tensor
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_torch_a_stored_tensor_says_what_to_install(tmp_path, monkeypatch):
    store = FolderCheckpoints(tmp_path)
    name = store.put(0, 0, {"x": torch.ones(2)})
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"A checkpoint with tensors needs the package 'torch'.*pip install 'lamarck\[torch\]'"):
        store.get(name)
    assert MemoryCheckpoints().put(0, 0, {"x": np.ones(2)}) == "0-0"
