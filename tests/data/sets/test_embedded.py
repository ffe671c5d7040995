import pytest

from gradshape.data import info, load, names

EMBEDDED = {
    "digits": "8330e7e6252c79b38ab5031fb5bdedca830beae473797f8b1315cc38631d4de7",
    "digits_38": "a04965e3250ef90eef1b8e752a272718dedd2b6a3baccb369c53d049a053c979",
    "two_moons": "9118ad93cbef0c142f4f4f1f2ac066df1b5246d6c9c39b0f82a58c11fff501bd",
    "purchase_synthetic": "0762e1df167d02041223d7f6071ce19d4e12df83f1223db7137e7419a8e74661",
    "mail_counts": "9255f0ba57c7756db0a053176314ae62a978d8f39809a08581a8a146ad7b8075",
    "spam_zipf": "14fa35e1968111a8d6a54404c7171cad335ad6049fe7995913d0fe1afaf88bc8",
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSHAPE_OFFLINE", "1")


def test_every_embedded_set_of_classes_is_pinned() -> None:
    assert {name for name in names() if info(name).embedded and info(name).num_classes} <= EMBEDDED.keys()


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
