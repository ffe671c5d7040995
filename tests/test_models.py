import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gradshape import models

SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "lr": ((100,), 100),
    "mlp": ((100,), 100),
    "mlp1": ((2, 3, 4), 5),
    "cnn": ((3, 8, 8), 10),
    "cnn_dropout": ((1, 9, 6), 3),
}
each_model = pytest.mark.parametrize("name", SHAPES)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _built(name: str, shape: tuple[int, ...], classes: int, seed: int = 0) -> models.Classifier:
    model = models.build(name, shape, classes, generator=_generator(seed))
    assert isinstance(model, models.Classifier)
    return model


def _parameters(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_BUILDERS", dict(models._BUILDERS))


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("lr", (100,), 100, 10_100),
        ("mlp", (100,), 100, 117_348),
        ("mlp1", (100,), 100, 101 * 256 + 257 * 100),
        ("mlp", (1, 28, 28), 100, 292_452),
        ("lr", (1, 28, 28), 2, 1_570),
        ("cnn", (3, 32, 32), 10, 530_090),
        ("cnn_dropout", (3, 32, 32), 10, 530_090),
    ],
)
def test_the_papers_networks_have_the_papers_sizes(name: str, shape: tuple[int, ...], classes: int, count: int) -> None:
    assert len(_parameters(models.build(name, shape, classes))) == count


def test_every_network_is_tested_here() -> None:
    assert models.names() == sorted(SHAPES)


@each_model
def test_rows_become_logits(name: str) -> None:
    shape, classes = SHAPES[name]
    model = models.build(name, shape, classes).eval()
    x = torch.rand(4, *shape, generator=_generator())
    assert model(x).shape == (4, classes)
    # A row's logits depend on that row only.
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "width"), [("mlp", 256), ("mlp1", 256), ("cnn", 64), ("cnn_dropout", 64)])
def test_features_are_what_the_last_layer_sees(name: str, width: int) -> None:
    shape, classes = SHAPES[name]
    model = _built(name, shape, classes).eval()
    x = torch.rand(4, *shape, generator=_generator())
    features = model.features(x)
    assert features.shape == (4, width)
    assert (features >= 0).all()
    torch.testing.assert_close(model.head(features), model(x))


def test_the_features_of_logistic_regression_are_its_logits() -> None:
    model = _built("lr", (6,), 3)
    x = torch.rand(4, 6, generator=_generator())
    assert torch.equal(model.features(x), model(x))


def test_odd_pictures_lose_their_last_row_and_column_in_the_pooling() -> None:
    [wide, _] = (layer for layer in models.build("cnn", (1, 9, 7), 3).modules() if isinstance(layer, nn.Linear))
    assert wide.in_features == 32 * 4 * 3


@each_model
def test_weights_are_glorot_uniform_and_biases_zero(name: str) -> None:
    for layer in models.build(name, *SHAPES[name], generator=_generator(3)).modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        assert layer.bias is not None
        assert not layer.bias.any()
        outputs, inputs = layer.weight.shape[:2]
        window = layer.weight[0, 0].numel()
        bound = math.sqrt(6 / (window * (inputs + outputs)))
        weight = layer.weight.detach()
        assert weight.abs().max() <= bound
        assert weight.abs().max() > 0.9 * bound
        assert weight.var().item() == pytest.approx(bound**2 / 3, rel=8 / math.sqrt(weight.numel()))


@each_model
def test_the_generator_decides_the_weights(name: str) -> None:
    one, same, other = (_parameters(models.build(name, *SHAPES[name], generator=_generator(s))) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_without_a_generator_the_weights_are_those_of_seed_0() -> None:
    one, other = models.build("lr", (5,), 3), models.build("lr", (5,), 3, generator=_generator(0))
    assert torch.equal(_parameters(one), _parameters(other))


@each_model
def test_building_leaves_the_process_random_state_alone(name: str) -> None:
    before = torch.get_rng_state()
    models.build(name, *SHAPES[name])
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_name_lists_near_matches_first() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'cnn_dropot': did you mean 'cnn_dropout'.*known: cnn, cnn_dr"):
        models.build("cnn_dropot", (3, 8, 8), 2)


@pytest.mark.parametrize("classes", [1, 0, -2])
def test_a_classifier_needs_two_classes(classes: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes={classes}: expected at least 2"):
        models.build("lr", (5,), classes)


@pytest.mark.parametrize("shape", [(5,), (8, 8), (1, 1, 8), (1, 8, 1), (2, 3, 8, 8)], ids=str)
@pytest.mark.parametrize("name", ["cnn", "cnn_dropout"])
def test_the_cnn_needs_pictures(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the CNN expects pictures") as error:
        models.build(name, shape, 3)
    assert str(shape) in str(error.value)


def _classifier(*body: nn.Module, head: nn.Linear | None = None) -> models.Classifier:
    return models.Classifier(nn.Sequential(*body), nn.Linear(4, 3) if head is None else head)


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_model_keeps_the_weights_that_its_builder_drew() -> None:
    def build_tanh(input_shape: tuple[int, ...], num_classes: int) -> models.Classifier:
        return _classifier(nn.Linear(input_shape[0], 4), nn.Tanh(), head=nn.Linear(4, num_classes))

    models.register("tanh", build_tanh)
    assert "tanh" in models.names()
    one, other = (_built("tanh", (6,), 3, seed=1) for _ in range(2))
    assert torch.equal(_parameters(one), _parameters(other))
    # PyTorch draws biases, too.
    assert one.head.bias.any()


def _drawing(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Has layers that nobody but themselves initialises."""
    convolution = nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 2, 3, padding=1), nn.Flatten())
    return nn.Sequential(convolution, nn.LayerNorm(2 * input_shape[0]), nn.Linear(2 * input_shape[0], num_classes))


@pytest.mark.usefixtures("_own_registry")
def test_what_a_builder_draws_hangs_on_the_generator_alone() -> None:
    models.register("drawing", _drawing)
    before = torch.get_rng_state()
    one, other, third = (
        _parameters(models.build("drawing", (6,), 3, generator=_generator(seed))) for seed in (1, 1, 2)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one[:6], third[:6])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("_own_registry")
@pytest.mark.parametrize("frozen", [True, False])
def test_pretrained_layers_stay_as_the_builder_made_them(frozen: bool) -> None:
    def build_pretrained(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        body = nn.Linear(input_shape[0], 4)
        nn.init.constant_(body.weight, 0.123)
        return nn.Sequential(body.requires_grad_(not frozen), nn.ReLU(), nn.Linear(4, num_classes))

    models.register("pretrained", build_pretrained)
    model = models.build("pretrained", (6,), 3)
    assert torch.equal(next(model.parameters()), torch.full((4, 6), 0.123))


@pytest.mark.usefixtures("_own_registry")
def test_what_joined_is_known_whoever_made_it() -> None:
    models.register("mine", models.builder("lr"))
    assert models.registered() == {"mine": models.builder("lr")}


@pytest.mark.usefixtures("_own_registry")
def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'mlp' exists already"):
        models.register("mlp", models.builder("lr"))
    assert models.builder("mlp") is not models.builder("lr")


@pytest.mark.parametrize(("name", "widths"), [("lr", [12, 3]), ("mlp1", [12, 256, 3]), ("mlp", [12, 256, 256, 3])])
def test_dense_networks_are_recognised(name: str, widths: list[int]) -> None:
    layers = models.dense_layers(models.build(name, (3, 4), 3))
    assert layers is not None
    assert [(layer.in_features, layer.out_features) for layer in layers] == list(itertools.pairwise(widths))


class _Doubling(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class _DoublingClassifier(models.Classifier):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def _hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return layer


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(models.build("cnn", (1, 4, 4), 3), id="cnn"),
        pytest.param(nn.Sequential(nn.Linear(4, 3)), id="no-classifier"),
        pytest.param(_classifier(nn.Linear(4, 4), nn.Tanh()), id="tanh"),
        pytest.param(_classifier(nn.Linear(4, 4)), id="no-activation"),
        pytest.param(_classifier(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.5)), id="dropout"),
        pytest.param(_classifier(nn.Linear(4, 4), nn.ReLU(), nn.ReLU(), nn.ReLU()), id="activations"),
        pytest.param(_classifier(nn.Linear(4, 4, bias=False), nn.ReLU()), id="no-bias"),
        pytest.param(_classifier(head=nn.Linear(4, 3, bias=False)), id="head-without-bias"),
        pytest.param(_classifier(_Doubling(4, 4), nn.ReLU()), id="subclass of a layer"),
        pytest.param(_DoublingClassifier(nn.Sequential(), nn.Linear(4, 3)), id="subclass of Classifier"),
        pytest.param(_classifier(_hooked(nn.Linear(4, 4)), nn.ReLU()), id="hook"),
        pytest.param(_classifier(nn.Linear(4, 4).requires_grad_(False), nn.ReLU()), id="frozen"),
        pytest.param(_classifier(nn.Flatten(0), nn.Linear(4, 4), nn.ReLU()), id="flattens rows together"),
    ],
)
def test_other_networks_are_not_dense(model: nn.Module) -> None:
    assert models.dense_layers(model) is None


def test_a_layer_that_is_used_twice_makes_no_dense_network() -> None:
    shared = nn.Linear(4, 4)
    assert models.dense_layers(_classifier(shared, nn.ReLU(), shared, nn.ReLU())) is None


@each_model
def test_penultimate_is_the_models_own_features(name: str) -> None:
    shape, classes = SHAPES[name]
    model = _built(name, shape, classes).eval()
    x = torch.rand(4, *shape, generator=_generator())
    assert torch.equal(models.penultimate(model, x), model.features(x))


def test_penultimate_flattens_what_features_gives() -> None:
    class Maps(nn.Module):
        def features(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, None].expand(-1, 2, -1)

    assert models.penultimate(Maps(), torch.rand(4, 6)).shape == (4, 12)


class _OutOfOrder(nn.Module):
    """Makes its last layer first, and has a submodule by the name of `features`."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.features = nn.Linear(7, 3), nn.Linear(5, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x).tanh())
        return logits


def test_penultimate_is_else_what_the_linear_layer_that_is_called_last_sees() -> None:
    model, x = _OutOfOrder(), torch.rand(4, 5, generator=_generator())
    assert torch.equal(models.penultimate(model, x), model.features(x).tanh())


def test_penultimate_leaves_no_hook_and_can_be_differentiated() -> None:
    model, x = _OutOfOrder(), torch.rand(4, 5, generator=_generator()).requires_grad_()
    (slope,) = torch.autograd.grad(models.penultimate(model, x).sum(), x)
    assert slope.shape == x.shape
    assert slope.any()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_penultimate_of_a_network_without_linear_layers_asks_for_features() -> None:
    with pytest.raises(ValueError, match=r"Sequential calls no nn\.Linear: give Sequential a method features"):
        models.penultimate(nn.Sequential(nn.Conv2d(1, 2, 1)), torch.rand(4, 1, 3, 3))


def _of(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


class _Ends(nn.Module):
    """A network whose last Linear layer is followed by something else."""

    def __init__(self, end: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.below, self.last, self.end = nn.Linear(5, 7), nn.Linear(7, 3), end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.last(self.below(x).tanh()))


@pytest.mark.parametrize(
    "end",
    [lambda out: out, lambda out: out.log_softmax(1), lambda out: out - out.mean() + 4],
    ids=["as-they-are", "log-softmax", "constant"],
)
def test_logits_may_be_shifted(end: Callable[[torch.Tensor], torch.Tensor]) -> None:
    model, x = _Ends(end), torch.rand(4, 5, generator=_generator())
    assert torch.equal(models.penultimate(model, x), model.below(x).tanh())


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda out: out @ torch.rand(3, 3, generator=_generator()), id="functional-head"),
        pytest.param(lambda out: out.relu(), id="activation"),
        pytest.param(lambda out: torch.cat([out, -out], 1), id="other-shape"),
        pytest.param(lambda out: 3 * out, id="scaled"),
    ],
)
def test_a_linear_layer_that_does_not_give_the_logits_has_no_penultimate_input(
    end: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    x = torch.rand(4, 5, generator=_generator())
    with pytest.raises(ValueError, match=r"calls last, Linear.*does not give its logits: give _Ends a method features"):
        models.penultimate(_Ends(end), x)


def test_a_head_for_every_token_has_no_penultimate_input() -> None:
    model = _of(nn.Linear(5, 3), nn.Flatten())
    with pytest.raises(ValueError, match="does not give its logits"):
        models.penultimate(model, torch.rand(4, 2, 5))


def test_a_layer_may_be_called_by_keyword_and_its_input_changed_afterwards() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below, self.last = nn.Linear(5, 7), nn.Linear(7, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.below(x).tanh()
            logits: torch.Tensor = self.last(input=hidden)
            hidden.zero_()
            return logits

    model, x = InPlace(), torch.rand(4, 5, generator=_generator())
    with torch.no_grad():
        assert torch.equal(models.penultimate(model, x), model.below(x).tanh())


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(_of(nn.Flatten(), nn.Linear(6, 3)), id="sequential"),
        pytest.param(_of(nn.Flatten(), nn.BatchNorm1d(6, affine=False).eval(), nn.Linear(6, 3)), id="scaled-inputs"),
    ],
)
def test_the_logits_stand_in_for_features_where_nothing_is_learnt_below_the_head(model: nn.Module) -> None:
    x = torch.rand(4, 2, 3, generator=_generator())
    assert torch.equal(models.penultimate(model, x), model(x))


@pytest.mark.parametrize("body", [nn.Flatten(), nn.Linear(4, 4)])
def test_a_classifier_whose_body_is_no_sequence_is_no_plain_network(body: nn.Module) -> None:
    assert models.dense_layers(models.Classifier(body, nn.Linear(4, 2))) is None  # type: ignore[arg-type]
