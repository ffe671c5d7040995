"""A residual network of pictures with group normalisation, which looks at each picture on its own."""

from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions beside a way around them."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.GroupNorm(4, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(4, channels),
        )
        changed = stride != 1 or channels_in != channels
        around = [nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.GroupNorm(4, channels)]
        self.around = nn.Sequential(*(around if changed else []))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.path(x) + self.around(x))


class ResNet18(nn.Module):
    """The layers of ResNet-18 for pictures of 32 pixels (He et al. 2016), with groups in the place of batches.

    Args:
        input_shape: ``(channels, height, width)``.
        num_classes: number of classes.
        width: channels of the first stage; 64 in the paper.
    """

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False), nn.GroupNorm(4, width), nn.ReLU()
        )
        stages: list[nn.Module] = []
        before = width
        for stage, channels in enumerate((width, 2 * width, 4 * width, 8 * width)):
            stages += [Block(before, channels, 1 if stage == 0 else 2), Block(channels, channels, 1)]
            before = channels
        self.stages = nn.Sequential(*stages)
        self.last = nn.Linear(8 * width, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return ``(N, 8 * width)`` features, in which poison for single targets collides."""
        pooled: Tensor = self.stages(self.first(x)).mean((2, 3))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.features(x))
        return scores
