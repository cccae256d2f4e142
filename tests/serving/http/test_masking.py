"""Personal data are masked in what is logged: which writings are taken for it, and that other numbers stay."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.serving.http.masking import CARD, EMAIL, PHONE, luhn, masked, masked_values

# numbers that card companies publish for tests, and numbers that regulators keep free for fiction
CARDS = ["4111 1111 1111 1111", "5555555555554444", "3782-822463-10005", "6011111111111117", "30569309025904"]
PHONES = [
    "+44 20 7946 0958",
    "+49 (0)30 23125 000",
    "0049 30 23125000",
    "(202) 555-0143",
    "1-202-555-0143",
    "202.555.0143",
    "020 7946 0958",
    "030/23125000",
    "07700900123",
    "06 12 34 56 78",
    "13812345678",
    "+8613812345678",
]


@pytest.mark.parametrize("number", CARDS)
def test_card_numbers_are_masked(number: str) -> None:
    assert masked(f"my card {number}, please") == f"my card {CARD}, please"


@pytest.mark.parametrize("number", PHONES)
def test_phone_numbers_are_masked(number: str) -> None:
    assert masked(f"call {number}. Thanks") == f"call {PHONE}. Thanks"


@given(st.emails())
def test_emails_are_masked(address: str) -> None:
    assert masked(f"write to <{address}> today") == f"write to <{EMAIL}> today"


DAYS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
ORDERS = st.one_of(
    st.integers(0, 99_999_999).map(str),
    st.integers(2_000_000_000, 9_999_999_999).map(str),
    st.from_regex(r"[A-Z]{2}-[0-9]{4,10}", fullmatch=True),
    st.from_regex(r"#[1-9][0-9]{5,9}", fullmatch=True),
    DAYS.map(lambda at: str(at.date())),
    DAYS.map(lambda at: at.strftime("%d.%m.%Y %H:%M")),
    DAYS.map(lambda at: at.isoformat(timespec="seconds")),
    st.decimals(0, 1_000_000, places=2).map(lambda amount: f"{amount:,} EUR"),
    st.from_regex(r"[2-6][0-9]{12,18}", fullmatch=True).filter(lambda number: not luhn(number)),
    st.uuids().map(lambda id: f"id {id.hex}"),
)


@given(st.lists(ORDERS, min_size=1, max_size=4))
def test_orders_dates_amounts_and_ids_stay(numbers: list[str]) -> None:
    text = "my order, " + ", and ".join(numbers) + "?"
    assert masked(text) == text


@given(st.text())
def test_masking_twice_changes_no_more(text: str) -> None:
    assert masked(masked(text)) == masked(text)


@given(st.integers(0, 10**15), st.integers(0, 14), st.integers(1, 9))
def test_a_check_digit_finds_every_wrong_digit(number: int, place: int, by: int) -> None:
    digits = f"{number:015}"
    right = next(f"{digits}{check}" for check in range(10) if luhn(f"{digits}{check}"))
    wrong = f"{right[:place]}{(int(right[place]) + by) % 10}{right[place + 1 :]}"
    assert not luhn(wrong)


def test_values_of_json_are_masked_within() -> None:
    given = {"text": "ada@example.org", "tokens": ["call", "07700900123"], "n": 4111111111111111, "none": None}
    assert masked_values(given) == {**given, "text": EMAIL, "tokens": ["call", PHONE]}
