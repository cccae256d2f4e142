"""Answers that a causal base writes from passages: prompted by them, and given only if they have its words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.applications.base.lexical import words
from adapters.applications.customer_service.knowledge import Passage

if TYPE_CHECKING:
    from adapters.serving.bank.bank import AdapterBank

PROMPT = """Answer the customer's question with the passages alone, in one or two sentences.

{passages}

Question: {question}
Answer:"""
NEW_TOKENS = 80
_COMMON = """
a an and are as at be but by can do does for from has have he her his how i if in is it its may me
must my no not of on or our she should so than that the their them then there these they this those
to us was we were what when where which who will with would yes you your
"""
COMMON = frozenset(_COMMON.split())
"""English words without content of their own. Of another language, every word must be in a passage."""


def written(bank: AdapterBank, question: str, passages: Sequence[Passage]) -> str | None:
    """An answer of the base to a question, from passages; None where a passage lacks a word of it, or it is empty.

    Raises BankError if the base does not generate.
    """
    from adapters.serving.bank.bank import Request, Sampling

    shown = "\n".join(f"[{number}] {passage.text}" for number, passage in enumerate(passages, 1))
    prompt = PROMPT.format(passages=shown, question=" ".join(question.split()))
    sampling = Sampling(max_new_tokens=NEW_TOKENS, stop=("\n", "Question:"))
    (answer,) = bank.generate([Request(None, prompt)], sampling)
    if "error" in answer:
        return None
    text = str(answer["output"]["completion"]).strip()
    return text if text and not unsupported(text, passages) else None


def unsupported(text: str, passages: Sequence[Passage]) -> list[str]:
    """The words of an answer that no passage has, common ones left out.

    That all words are there does not prove that the answer is: passages can be combined wrongly, or negated.
    """
    known = {word for passage in passages for word in words(passage.text)} | COMMON
    return [word for word in dict.fromkeys(words(text)) if word not in known]
