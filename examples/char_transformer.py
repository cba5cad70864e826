"""A small transformer that learns to write, character by character.

The text ships with Python and never changes: the names of the characters of Unicode 3.2, which the standard library keeps for internationalised
domain names, one name to a line (LATIN SMALL LETTER A WITH ACUTE). Members are judged by bits per character on names they have not seen.

Warm-up is the number of steps in which the learning rate rises to ``lr``. It acts at the beginning only, so a good one is found because its
owner's descendants win, not because anybody changes it later.

    python examples/char_transformer.py
    lamarck run examples/char_transformer.py:train --interval 60 --generations 15 --mode min

Needs lamarck[torch].
"""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache

import torch
from _command import settings, tell
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.integrations.torch import set_dropout, set_hparams

CONTEXT = 32
LETTERS = "\n -0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

space = lk.Space(
    lr=lk.Float(1e-4, 1e-1, log=True),
    warmup=lk.Float(1.0, 500.0, log=True),  # steps
    dropout=lk.Float(0.0, 0.5),
    weight_decay=lk.Float(1e-3, 10.0, log=True),
)


@lru_cache(maxsize=1)
def text() -> dict[str, torch.Tensor]:
    """Names in a random order, as numbers of letters: 19 of 20 to train on, the rest to judge members by."""
    listed = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HANGUL SYLLABLE")  # tens of thousands, named by their numbers or sounds
    names = [unicodedata.ucd_3_2_0.name(chr(code), "") for code in range(0x110000)]
    names = [name for name in names if name and not name.startswith(listed)]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0)).tolist()
    parts = {"train": order[len(names) // 20 :], "validation": order[: len(names) // 20]}
    return {part: torch.tensor([LETTERS.index(c) for i in rows for c in names[i] + "\n"]) for part, rows in parts.items()}


class Transformer(nn.Module):
    """Letters ``int64[batch, length]`` to logits of the next one, ``float32[batch, length, 39]``; nobody sees what comes later."""

    def __init__(self, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.letter, self.place = nn.Embedding(len(LETTERS), width), nn.Embedding(CONTEXT, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, activation="gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, len(LETTERS))
        for weight in self.parameters():  # the layers above are copies of one layer
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        length = letters.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        logits: torch.Tensor = self.head(self.body(self.letter(letters) + self.place.weight[:length], mask=mask, is_causal=True))
        return logits


def bits(model: nn.Module, letters: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Mean bits per character of the stretches that begin at ``rows``."""
    stretch = letters[rows[:, None] + torch.arange(CONTEXT + 1)]
    return functional.cross_entropy(model(stretch[:, :-1]).flatten(0, 1), stretch[:, 1:].flatten()) / math.log(2)


def train(worker: lk.Worker) -> None:
    """Trains members with AdamW, and reports bits per character on the validation names."""
    torch.set_num_threads(1)
    letters, unseen = text()["train"], text()["validation"]
    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98))
    worker.track(model=model, optimizer=optimizer)
    worker.on_fresh(lambda _: model.load_state_dict(Transformer().state_dict()))  # the global generator starts from the interval's seed
    for interval in worker:
        h = interval.hparams
        set_dropout(model, h["dropout"])
        dice = torch.Generator().manual_seed(interval.seed)
        model.train()
        for step in interval.steps:
            set_hparams(optimizer, lr=h["lr"] * min(1.0, (step + 1) / h["warmup"]), weight_decay=h["weight_decay"])
            loss = bits(model, letters, torch.randint(len(letters) - CONTEXT, (16,), generator=dice))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            interval.report(bits(model, unseen, torch.arange(0, len(unseen) - CONTEXT, CONTEXT)).item())


def main() -> None:
    """Trains a population."""
    tell(lk.run(train, space, interval=60, mode="min", **settings(__doc__, population_size=8, generations=15)))


if __name__ == "__main__":
    main()
