"""A generative adversarial network on handwritten digits, judged by a score that is not its loss.

Neither loss of a GAN says how good its images are. The members are judged as in Jaderberg et al. 2017, section 4.3, by an Inception score
(Salimans et al. 2016): exp(E KL(p(y|x) || p(y))), which is high when a classifier is sure of each image and sees all digits. 1 is the worst, 10
the best. Here the classifier is trained first, on images that the GAN never sees.

    python examples/digits_gan.py
    lamarck run examples/digits_gan.py:train --interval 200 --generations 15

A score can be gamed: it does not notice when all images of a digit look the same. Needs lamarck[torch] and scikit-learn.
"""

from __future__ import annotations

from functools import lru_cache

import sklearn.datasets
import torch
from _command import settings, tell
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.integrations.torch import set_hparams

LATENT = 16

space = lk.Space(lr_generator=lk.Float(1e-5, 1e-2, log=True), lr_discriminator=lk.Float(1e-5, 1e-2, log=True))


@lru_cache(maxsize=1)
def digits() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Images, ``float32[n, 64]``, and labels: half for the GAN, half for the classifier."""
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    ours, judges = order[::2], order[1::2]
    return (x[ours], y[ours]), (x[judges], y[judges])


@lru_cache(maxsize=1)
def classifier() -> nn.Module:
    """The judge, the same in every process: trained from a seed of its own."""
    (_, (x, y)) = digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
        for _ in range(300):
            optimizer.zero_grad()
            functional.cross_entropy(model(x + 0.1 * torch.randn(x.shape)), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model.requires_grad_(False).eval()


def score(images: torch.Tensor) -> float:
    """exp(E KL(p(y|x) || p(y))): 1 to 10."""
    log_p = classifier()(images).log_softmax(dim=1)
    log_marginal = log_p.logsumexp(dim=0) - torch.tensor(len(images)).log()
    return float((log_p.exp() * (log_p - log_marginal)).sum(dim=1).mean().exp())


def generator() -> nn.Sequential:
    """Latents ``float32[n, 16]`` to images. Without batch normalisation it learns far more slowly."""
    hidden = (nn.Linear(LATENT, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    return nn.Sequential(*hidden, nn.Linear(64, 64), nn.Sigmoid())


def discriminator() -> nn.Sequential:
    """Images to logits of being real."""
    return nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


def train(worker: lk.Worker) -> None:
    """Trains both networks in turn, with the non-saturating loss (Goodfellow et al. 2014), and reports the score of 1,000 images."""
    torch.set_num_threads(1)
    ((real, _), _) = digits()
    classifier()
    makes, judges = generator(), discriminator()
    maker, judge = (torch.optim.Adam(model.parameters(), betas=(0.5, 0.9)) for model in (makes, judges))
    worker.track(generator=makes, discriminator=judges, generator_optimizer=maker, discriminator_optimizer=judge)

    def fresh(_: int) -> None:  # the global generator starts from the interval's seed
        makes.load_state_dict(generator().state_dict())
        judges.load_state_dict(discriminator().state_dict())

    worker.on_fresh(fresh)
    shown = torch.randn(1000, LATENT, generator=torch.Generator().manual_seed(0))
    for interval in worker:
        set_hparams(maker, lr=interval.hparams["lr_generator"])
        set_hparams(judge, lr=interval.hparams["lr_discriminator"])
        dice = torch.Generator().manual_seed(interval.seed)
        makes.train()
        for _ in interval.steps:
            true = real[torch.randint(len(real), (64,), generator=dice)]
            made = makes(torch.randn(64, LATENT, generator=dice))
            judge.zero_grad()
            (functional.softplus(-judges(true)) + functional.softplus(judges(made.detach()))).mean().backward()  # type: ignore[no-untyped-call]
            judge.step()
            maker.zero_grad()
            functional.softplus(-judges(made)).mean().backward()  # type: ignore[no-untyped-call]
            maker.step()
        makes.eval()
        with torch.inference_mode():
            interval.report(score(makes(shown)))


def main() -> None:
    """Trains a population."""
    tell(lk.run(train, space, interval=200, **settings(__doc__, population_size=8, generations=15)))
    print(f"\nreal images score {score(digits()[0][0]):.3g}")


if __name__ == "__main__":
    main()
