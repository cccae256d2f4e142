"""The assistant's own phrases, in the language of the message: Chinese where it has Chinese characters."""

from __future__ import annotations

import regex

ASK_BACK, HANDED_OVER, WELCOME, SLOT = "ask_back", "handed_over", "welcome", "slot"
_ENGLISH = {
    ASK_BACK: "Is it about {0}, or about {1}?",
    HANDED_OVER: "I hand this over to a colleague, who will answer you.",
    WELCOME: "You are welcome.",
    SLOT: "Please give the {0}.",
}
_CHINESE = {
    ASK_BACK: "您问的是“{0}”，还是“{1}”？",
    HANDED_OVER: "我把您的问题转给同事，他会回复您。",
    WELCOME: "不客气。",
    SLOT: "请提供{0}。",
}
_HAN = regex.compile(r"\p{Han}")
_PART = regex.compile(r"谢谢|多谢|感谢|再见|好的|非常|[\p{Han}]|[^\W\d_\p{Han}]+|\d+")
_THANKS = {"thanks", "thank", "thx", "cheers", "bye", "goodbye", "谢谢", "多谢", "感谢", "再见"}
_WITH_THANKS = {
    *("ok", "okay", "great", "perfect", "good", "fine", "super", "many", "you", "a", "lot", "so", "very", "much"),
    *("for", "your", "the", "help", "all", "and"),
    *("好的", "非常", "好", "您", "你", "了", "啊", "太"),
}
"""Words that may accompany thanks without adding a question."""
SHORT = 60
"""Maximum number of characters of a message that only says thanks."""


def phrase(name: str, message: str, *values: str) -> str:
    """A phrase in the language of a customer's message, with values in its places."""
    return (_CHINESE if _HAN.search(message) else _ENGLISH)[name].format(*values)


def only_thanks(message: str) -> bool:
    """Whether a message says thanks or goodbye, and nothing else."""
    parts = set(_PART.findall(message.lower())) if len(message) <= SHORT else set()
    return bool(parts & _THANKS) and parts <= _THANKS | _WITH_THANKS and "?" not in message and "？" not in message
