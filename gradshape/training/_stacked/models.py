"""Models of one architecture with a leading model axis, such as ``torch.func.stack_module_state`` makes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from gradshape.shaping import ShaperStack
from gradshape.training.state import State

BatchT_contra = TypeVar("BatchT_contra", contravariant=True)


class StackedModels(Protocol[BatchT_contra]):
    """``num_models`` models, of which the last ones may be padding that nobody trains.

    Their trainable parameters lie in one flat tensor; tensors of the same form hold gradients and moments.
    """

    @property
    def num_models(self) -> int:
        """Number of models, padding included."""
        ...

    @property
    def parameters_per_model(self) -> int:
        """Number of trainable parameters of one model."""
        ...

    @property
    def parameter(self) -> Tensor:
        """The trainable parameters of all models in one flat tensor."""
        ...

    @property
    def gradient(self) -> Tensor:
        """The gradient of the present step, in the form of :attr:`parameter`."""
        ...

    @property
    def descends(self) -> bool:
        """Whether :meth:`step` and :meth:`add_noise` move :attr:`parameter` themselves, by plain gradient descent."""
        ...

    def padded(self, victims: int) -> int:
        """Return the number of models, padding included, that so many victims take."""
        ...

    def step(self, batch: BatchT_contra, rows_per_step: int, shaping: ShaperStack) -> None:
        """Set :attr:`gradient` to the shaped sum over each model's batch, noise excluded, over ``rows_per_step``."""
        ...

    def noise_layout(self, draws: Tensor) -> list[Tensor]:
        """Lay out draws ``(T, n, P)``, flat in the order of a model's state, as :meth:`add_noise` takes them."""
        ...

    def add_noise(self, parts: Sequence[Tensor], step: int, scale: Tensor | None = None) -> None:
        """Add step number ``step`` of laid out draws, times ``scale (n,)``, to the first ``n`` models' gradients."""
        ...

    def predictor(self, places: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """Return what maps rows ``(M, ...)`` to the classes ``(k, M)`` that the models at ``places`` predict now."""
        ...

    def rows_at_once(self, models: int) -> int:
        """Return the number of test rows that so many models are evaluated on at a time."""
        ...

    def predict_own(self, x: Tensor) -> Tensor:
        """Predict the classes ``(num_models, M)`` of rows ``(num_models, M, ...)``, each model's own."""
        ...

    def read(self, flat: Tensor, place: int) -> State:
        """Copy one model's part of a tensor of :attr:`parameter`'s form, by parameter name, to the CPU."""
        ...

    def with_frozen(self, place: int, trained: State) -> State:
        """Return one model's trained parameters together with those that are not trained."""
        ...

    def write(self, flat: Tensor, place: int, state: Mapping[str, Tensor]) -> None:
        """Set one model's part of a tensor of :attr:`parameter`'s form."""
        ...

    def copy(self, to: Tensor, source: Tensor, places: Sequence[int]) -> None:
        """Copy these models' parts from one tensor of :attr:`parameter`'s form to another."""
        ...

    def keep(self, places: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """Go on with these models only, in this order: :attr:`parameter` and :attr:`gradient` are then other tensors.

        Returns:
            What maps another flat tensor of the old form, such as an optimizer's moment, to one of the new form.
        """
        ...
