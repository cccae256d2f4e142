"""Masks personal data in texts that are logged or learned from: emails, card numbers and phone numbers.

A card number has 13 to 19 digits and a right check digit (Luhn's; ISO/IEC 7812-1, annex B). A phone number is known by
how it is written: +49 …, 00 49 …, (555) 123-4567, 020 7946 0958, 06 12 34 56 78, 07700900123, 13812345678. Other
numbers stay, those of orders among them, and so does what is written in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

EMAIL, CARD, PHONE = "[email]", "[card]", "[phone]"
_EMAIL = re.compile(r"[^\s@<>,;:\"()\[\]]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_CARD = re.compile(r"(?<![\w.])[2-6](?:[ -]?\d){12,18}(?![\w])")
_PHONE = re.compile(
    r"(?<![\w.+#-])(?:"
    r"(?:\+|00[ -]?)[1-9](?:[ ()./-]{0,2}\d){6,13}"  # with a country code
    r"|(?:1[ -])?\(\d{3}\) ?\d{3}[ .-]\d{4}|(?:1[ -])?\d{3}([ .-])\d{3}\1\d{4}"  # North America
    r"|\(?0[1-9]\d{1,3}\)?[ /-]\d{2,4}(?:[ -]?\d{2,4}){1,2}"  # an area, then groups
    r"|0[1-9](?:[ .-]\d{2}){4}"  # France
    r"|0[1-9]\d{8,9}|1[3-9]\d{9}"  # mobiles in one piece; China
    r")(?![\w])"
)


def masked(text: str) -> str:
    """A text with `[email]`, `[card]` and `[phone]` for what it has of them."""
    text = _EMAIL.sub(EMAIL, text)
    text = _CARD.sub(lambda found: CARD if luhn(found[0]) else found[0], text)
    return _PHONE.sub(PHONE, text)


def masked_values(value: Any) -> Any:
    """A JSON value with every text in it masked, keys apart. Other values stay."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: masked_values(item) for key, item in value.items()}
    return [masked_values(item) for item in value] if isinstance(value, list | tuple) else value


def luhn(number: str) -> bool:
    """Whether the last digit of a number checks the others. What is no digit does not count."""
    digits = [int(digit) for digit in reversed(number) if digit.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
