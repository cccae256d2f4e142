"""What the assistant says of its own, in the language of the message: Chinese where it has Chinese characters."""

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
_THANKS = regex.compile(
    r"(?:[\s,.!~]*(?:ok|okay|great|perfect|good|fine|super|many|thanks|thank you|thx|cheers|bye|goodbye|a lot|"
    r"so much|very much|for your help|again))+[\s,.!~]*|"
    r"(?:[\s，。！!,.~]*(?:谢谢|多谢|感谢|您|你|了|啊|好的|好|再见|非常|太))+[\s，。！!,.~]*",
    regex.IGNORECASE,
)


def phrase(name: str, message: str, *values: str) -> str:
    """A phrase in the language of a customer's message, with values in its places."""
    return (_CHINESE if _HAN.search(message) else _ENGLISH)[name].format(*values)


def only_thanks(message: str) -> bool:
    """Whether a message says thanks or goodbye, and nothing else."""
    return _THANKS.fullmatch(message.strip()) is not None
