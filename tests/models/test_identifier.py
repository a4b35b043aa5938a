"""Identifiers: normalised as one, placeholders name nobody."""

import pytest

from models.identifier import Identifier, IdentifierError, IdentifierOrder, normalise
from models.journey_model import default_model, load_model, template

MODEL = default_model()
GERMAN = load_model(
    template("default").replace("phone_region: null", "phone_region: de"), where="german.yaml"
)


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("email", " Ann@Example.ORG ", "ann@example.org"),
        ("email", "Zoe\u0308@x.org", "zo\u00eb@x.org"),
        ("user_id", 7, "7"),
        ("user_id", "Ann", "Ann"),
        ("phone", "+4930901820", "+4930901820"),
        ("phone", "tel:+49 (0)30 90-18 20", "+4930901820"),
        ("phone", "030 901820", "030901820"),
        ("phone", "1234", None),
        ("phone", "anonymous", None),
        ("phone", "+266696687", None),
        ("phone", "Restricted", None),
        ("user_id", "undefined", None),
        ("user_id", "NULL", None),
        ("user_id", " ", None),
        ("user_id", None, None),
        ("user_id", True, None),
        ("user_id", 0, None),
        ("user_id", {"id": 1}, None),
        ("anonymous_id", "00000000-0000-0000-0000-000000000000", None),
        ("phone", "+0000", None),
        ("user_id", "100", "100"),
    ],
)
def test_a_value_is_normalised_or_names_nobody(kind: str, value: object, wanted: str | None) -> None:
    assert normalise(kind, value, MODEL) == (None if wanted is None else Identifier(kind, wanted))


def test_a_number_without_a_country_is_of_the_models_region() -> None:
    assert normalise("phone", "030 901820", GERMAN) == Identifier("phone", "+4930901820")


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(IdentifierError, match='identifier kind "fax" is not defined'):
        normalise("fax", "1", MODEL)


def test_stronger_kinds_come_first_then_smaller_values() -> None:
    keys = ["nickname:a", "phone:+1", "email:b", "user_id:z", "email:a"]
    assert sorted(keys, key=IdentifierOrder().rank) == [
        "user_id:z",
        "email:a",
        "email:b",
        "phone:+1",
        "nickname:a",
    ]
