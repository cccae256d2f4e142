"""Replies with slots: which slots there are, how their values are found in a text, and filling them.

A template is given only when every slot has a value. Slots come from a file:

    [order_number]
    pattern = "[A-Z]{2}-[0-9]{4,}"            # or: entity = "ORDER", a type of the NER adapter
    ask = "Which order? Its number looks like AB-1234."
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Formatter
from typing import Any, TypeGuard

from adapters.core import flags
from adapters.core.errors import DataError, did_you_mean

LONGEST = 200
"""Characters of a value, at most."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A slot of templates.

    Attributes:
        name: as it is in braces.
        pattern: a regular expression that its value matches; its first group, if it has one, is the value.
        entity: type of the NER adapter whose text is its value.
        ask: the question that asks for it.
    """

    name: str
    pattern: str | None = None
    entity: str | None = None
    ask: str = ""

    def value(self, text: str, entities: Mapping[str, str]) -> str | None:
        """Its value in a text, the last one in it.

        Args:
            text: what the customer wrote.
            entities: by type, the text of the last entity found.
        """
        found = [match[1] if match.re.groups else match[0] for match in re.finditer(self.pattern or r"(?!)", text)]
        value = next((one for one in reversed(found) if one), None)
        value = entities.get(self.entity or "") if value is None else value
        return value[:LONGEST] if value else None


def read_slots(path: str | None, entity_types: Collection[str] | None) -> dict[str, Slot]:
    """The slots of a file, by name.

    Args:
        path: of the file; None for no slots.
        entity_types: of the NER adapter; None where there is none.

    Raises:
        DataError: what is not a slot, a pattern that is none, an entity type that the adapter lacks.
    """
    slots = {}
    for name, given in (flags.read_file(Path(path)) if path else {}).items():
        where = f"{path}: slot {name}"
        known = ("pattern", "entity", "ask")
        if not isinstance(given, dict) or set(given) - {*known} or not all(isinstance(v, str) for v in given.values()):
            raise DataError(f"{where}: must have texts under {', '.join(known)}; found {given!r:.100}.")
        if not ({"pattern", "entity"} & set(given)):
            raise DataError(f"{where}: has neither pattern nor entity, so nothing fills it. Give it one.")
        try:
            re.compile(given.get("pattern", ""))
        except re.error as error:
            raise DataError(f"{where}: its pattern is no regular expression ({error}).") from error
        entity = given.get("entity")
        if entity is not None and entity not in (entity_types or ()):
            have = did_you_mean(entity, entity_types) if entity_types else "there is no --ner_adapter"
            raise DataError(f"{where}: the entity type {entity!r} is unknown: {have}")
        slots[name] = Slot(name=name, **given)
    return slots


def read_templates(path: str | None) -> dict[str, tuple[str, ...]]:
    """By intent, the versions of its template, the newest last. Raises DataError."""
    found: dict[str, tuple[str, ...]] = {}
    for intent, given in (flags.read_file(Path(path)) if path else {}).items():
        versions = [given] if isinstance(given, str) else given
        if (
            not isinstance(versions, list)
            or not versions
            or not all(isinstance(v, str) and v.strip() for v in versions)
        ):
            raise DataError(f"{path}: {intent}: must be a reply, or a list of its versions; found {given!r:.100}.")
        found[intent] = tuple(versions)
    return found


def slots_of(template: str) -> list[str]:
    """The names in braces, in order, each once. `{{` and `}}` are braces. Raises DataError for a single brace."""
    try:
        names = [name for _, name, spec, conversion in Formatter().parse(template) if _simple(name, spec, conversion)]
    except ValueError as error:
        raise DataError(f"the template {template!r:.80} has a single brace ({error}). Write {{{{ and }}}}.") from error
    return list(dict.fromkeys(names))


def _simple(name: str | None, spec: str | None, conversion: str | None) -> TypeGuard[str]:
    """Whether a field is a name. Raises ValueError for what else Python's formats could do."""
    if name is None:
        return False
    if not name.isidentifier() or spec or conversion:
        raise ValueError(f"{name!r} is no name of a slot")
    return True


def check(template: str, slots: Mapping[str, Slot], where: str) -> None:
    """Raises DataError where a template has a slot that nothing fills."""
    for name in slots_of(template):
        if name not in slots:
            raise DataError(
                f"{where}: the template {template!r:.80} has the slot {{{name}}}, which is in no --slots_file: "
                f"{did_you_mean(name, slots)}. Give it a pattern or an entity there; braces are written {{{{{name}}}}}."
            )


def fill(template: str, values: Mapping[str, str]) -> tuple[str, list[str]]:
    """The template with its values, and the slots that have none; with any such, the text is empty."""
    missing = [name for name in slots_of(template) if name not in values]
    if missing:
        return "", missing
    parts = [text + ("" if name is None else values[name]) for text, name, _, _ in Formatter().parse(template)]
    return "".join(parts), []


def as_json(slots: Mapping[str, Slot]) -> dict[str, Any]:
    """Slots as JSON."""
    return {name: asdict(slot) for name, slot in slots.items()}
