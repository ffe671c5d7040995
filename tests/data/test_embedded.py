import pytest

from gradshape.data import info, load, names

EMBEDDED = {
    "digits": "91843feaa5795a5b8910bb86475e99714c1d5a2bb1f4d4ee46192b9be94a0b85",
    "digits_38": "288367b4edbe96cad8b427a2a8e24c319a4156a1be36d8b3e098ddeafb27d9b7",
    "two_moons": "8f66871bea363b2fedc82f8640dd0b39471cc13c3f324ca113e2686dc849c330",
    "purchase_synthetic": "767e5b13e2a5daad61ecaeeedc42a32a92b92946300789e1de6a1e8dc2a64bba",
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSHAPE_OFFLINE", "1")


def test_every_embedded_set_is_pinned() -> None:
    assert {name for name in names() if info(name).embedded} <= EMBEDDED.keys()


@pytest.mark.parametrize("name", sorted(EMBEDDED))
def test_content_never_changes(name: str) -> None:
    assert load(name).fingerprint == EMBEDDED[name]


@pytest.mark.parametrize("name", sorted(EMBEDDED))
def test_what_is_announced_is_what_loads(name: str) -> None:
    source, dataset = info(name), load(name)
    assert dataset.name == name
    assert dataset.input_shape == source.shape
    assert dataset.num_classes == source.num_classes == len(dataset.train.y.unique())
    assert source.rows in (None, (len(dataset.train), len(dataset.test)))


def test_digits_split_keeps_class_shares() -> None:
    dataset = load("digits")
    shares = dataset.train.y.bincount() / dataset.test.y.bincount()
    assert (shares - 1437 / 360).abs().max() < 0.2


def test_two_moons_fill_the_unit_square() -> None:
    dataset = load("two_moons")
    both = [*dataset.train.x.aminmax(dim=0), *dataset.test.x.aminmax(dim=0)]
    assert min(map(float, map(min, both))) == 0
    assert max(map(float, map(max, both))) == 1


def test_purchases_are_bits_with_a_popularity_profile() -> None:
    x = load("purchase_synthetic").train.x
    assert x.unique().tolist() == [0, 1]
    share = x.mean(dim=0)
    assert share[:10].mean() > 0.4
    assert share[-10:].mean() < 0.15


def test_purchases_repeat_no_train_record_in_test() -> None:
    dataset = load("purchase_synthetic")
    train = {row.tobytes() for row in dataset.train.x.bool().numpy()}
    repeated = sum(row.tobytes() in train for row in dataset.test.x.bool().numpy())
    assert repeated == 0
