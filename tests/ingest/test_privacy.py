"""Secrets in addresses and properties are left out; what is left stands as it was written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.privacy import DEEPEST, cleaned, without_secrets
from ingest.rejection import NotTaken

ADDRESSES = {
    "https://s.example/p": "https://s.example/p",
    "https://s.example/p?a=1&b=%20x": "https://s.example/p?a=1&b=%20x",
    "https://s.example/p?token=t": "https://s.example/p",
    "https://s.example/p?a=1&Access_Token=t&b=2": "https://s.example/p?a=1&b=2",
    "https://s.example/p?%74oken=t&a=1": "https://s.example/p?a=1",
    "https://s.example/#access_token=t&state=x": "https://s.example/#state=x",
    "https://s.example/?email=a@b.org": "https://s.example/",
    "https://u:p@s.example/a@b?x=1": "https://s.example/a@b?x=1",
    "https://s.example?next=a@b": "https://s.example?next=a@b",
    "?q=desk&reset-token=t": "?q=desk",
    "https://s.example/#top": "https://s.example/#top",
}


@pytest.mark.parametrize(("address", "left"), ADDRESSES.items())
def test_an_address_without_secrets(address: str, left: str) -> None:
    assert without_secrets(address) == left


@given(st.text(alphabet="ab:/?#&=@%.tokenpaswrd", max_size=40))
def test_no_address_is_too_odd_and_cleaning_it_again_changes_nothing(address: str) -> None:
    once = without_secrets(address)
    assert "token=" not in once.replace("?", "&").split("&")
    assert without_secrets(once) == once


def test_properties_are_cleaned_however_deep() -> None:
    said = {"a": {"Password": 1, "b": [{"card_number": 2, "c": 3}]}, "ip": "1.2.3.4", "code": "SPRING"}
    assert cleaned(said) == {"a": {"b": [{"c": 3}]}, "code": "SPRING"}


def test_but_not_deeper_than_the_limit() -> None:
    said: Any = 1
    for _ in range(DEEPEST + 1):
        said = [said]
    assert cleaned(said) == said
    with pytest.raises(NotTaken):
        cleaned([said])
