"""A small transformer of token rows."""

import torch
from torch import Tensor, nn


class Transformer(nn.Module):
    """Attention among the tokens of a row, then their mean.

    Args:
        input_shape: ``(tokens,)``.
        num_classes: number of classes.
        vocabulary: number of tokens.
        width: of embeddings.
        layers: number of layers.
    """

    def __init__(
        self, input_shape: tuple[int], num_classes: int, vocabulary: int = 100, width: int = 32, layers: int = 2
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.zeros(input_shape[0], width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.last = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        # Rows are float32, also those of whole numbers.
        scores: Tensor = self.last(self.layers(self.words(x.long()) + self.places).mean(1))
        return scores
