"""Items that can be recommended, by number: their texts, tags, prices and dates. Items can be added, none removed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from adapters.core.errors import ArtifactError
from adapters.core.files import new_file


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What can be recommended.

    Attributes:
        id: the company's own.
        text: title, description and the like; empty where there is none.
        title: how a list shows it.
        tags: genres, categories, words.
        price: None where it is not known.
        published: seconds since 1970; None where it is not known.
        slice: of the report.
    """

    id: str
    text: str
    title: str = ""
    tags: tuple[str, ...] = ()
    price: float | None = None
    published: float | None = None
    slice: str = ""


class Catalogue:
    """Items in a fixed order; an item's number is its place."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        """Args: items: of different ids."""
        self.items: list[Item] = []
        self.number: dict[str, int] = {}
        self.add(items)

    def __len__(self) -> int:
        return len(self.items)

    def add(self, items: Iterable[Item]) -> list[int]:
        """Add items of new ids; their numbers."""
        added = []
        for item in items:
            assert item.id not in self.number, item.id
            self.number[item.id] = len(self.items)
            added.append(len(self.items))
            self.items.append(item)
        return added

    def texts(self, numbers: Sequence[int] | None = None) -> list[str]:
        """Texts of items as the tower reads them: with their tags at the end."""
        chosen = self.items if numbers is None else [self.items[number] for number in numbers]
        return [read_text(item) for item in chosen]

    def save(self, path: Path) -> None:
        """Write the items, one a line."""
        with new_file(path) as stream:
            for item in self.items:
                stream.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Catalogue:
        """What `save` wrote. Raises ArtifactError."""
        try:
            with path.open(encoding="utf-8", errors="surrogatepass") as stream:
                return cls(item_of(json.loads(line)) for line in stream)
        except (OSError, ValueError, TypeError, AssertionError) as error:
            raise ArtifactError(f"{path}: no items of a recommender ({error!r:.200}). Train it again.") from error


def item_of(given: dict[str, object]) -> Item:
    """An item from JSON that was written from one."""
    return Item(**{**given, "tags": tuple(given.get("tags", ()))})  # type: ignore[arg-type]


def read_text(item: Item) -> str:
    """An item's text with the tags that it does not have in it; empty where there is neither."""
    lower = item.text.lower()
    more = ", ".join(tag for tag in item.tags if tag.lower() not in lower)
    return f"{item.text} ({more})".strip() if more else item.text
