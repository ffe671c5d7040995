"""The library alone, cell by cell: poison, victims in stacks, shaping, norms, privacy, and a picture.

Run it with ``python library.py``, or in a notebook: every ``# %%`` begins a cell.
"""

# %% Load rows, and craft poison: 40 % more rows, each a copy under a wrong label.
import torch
from torch import nn

from gradshape import data, models
from gradshape.attacks import LabelFlip
from gradshape.clipping import clipped_gradient, per_sample_norms
from gradshape.metrics import mean_over_seeds, relative_accuracy_drop
from gradshape.privacy import spent
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import Adam, Recipe, Victim, train_victims

digits = data.load("digits")
poison = LabelFlip(0.4)(digits, seed=0)
print(f"{digits.name}: {len(digits.train)} rows and {len(poison)} of poison")

# %% Train clean and poisoned victims of each shaper; those of one recipe are trained as one stack.
SHAPERS = {"plain": Shaper(), "clipped": Shaper((Clip(1.0),)), "noisy": Clip(1.0) | Noise(0.1)}
SEEDS = range(3)
drops = {}
for name, shaper in SHAPERS.items():
    recipe = Recipe("lr", Adam(0.05), batch_size=32, epochs=40, shaper=shaper)
    victims = [Victim(recipe, seed, rows) for rows in (None, poison.rows) for seed in SEEDS]
    accuracies = [result.accuracy[-1].item() for result in train_victims(digits, victims)]
    clean, poisoned = accuracies[: len(SEEDS)], accuracies[len(SEEDS) :]
    drops[name] = mean_over_seeds(list(map(relative_accuracy_drop, clean, poisoned)))
    print(f"{name}: accuracy lost to the poison {drops[name].value:.3f}")

# %% Look at single rows: poison has the larger gradients, once a model has learned a little.
model = models.build("mlp", digits.input_shape, digits.num_classes, generator=torch.Generator().manual_seed(0))
loss = nn.CrossEntropyLoss(reduction="none")
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for _ in range(200):
    gradient, _norms = clipped_gradient(model, loss, digits.train.x, digits.train.y, max_norm=1.0)
    for weights, parameter in model.named_parameters():
        parameter.grad = gradient[weights]
    optimizer.step()
norms = {
    "clean": per_sample_norms(model, loss, digits.train.x, digits.train.y),
    "poison": per_sample_norms(model, loss, poison.x, poison.y),
}
print("median norm:", {name: round(values.median().item(), 3) for name, values in norms.items()})

# %% Account for the privacy of a training with noise.
private = Recipe("lr", Adam(0.01), batch_size=100, epochs=20, shaper=Clip(1.0) | Noise(1.0))
privacy = spent(private, rows=len(digits.train), delta=1e-5)
print(f"epsilon {privacy.nominal:.2f} as customary, {privacy.epsilon:.2f} for shuffled batches")

# %% Draw the norms, where matplotlib is installed (the extra `plots`).
try:
    from matplotlib.figure import Figure
except ImportError:
    print("no picture: matplotlib is not installed")
else:
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    for name, values in norms.items():
        axes.hist(values.log10().clamp_min(-6).numpy(), bins=40, alpha=0.6, density=True, label=name)
    axes.set_xlabel("log10 of the norm of a row's gradient")
    axes.legend()
    figure.savefig("norms.png")
    print("picture: norms.png")
