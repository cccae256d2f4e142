"""Which column of a source has which role: the one that the user named, else one of the role's usual names.

A role is called as its flag is: `text` is named by `--text_column_name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.core.errors import DataError, most_similar
from adapters.data.rows import RowSource, format_of, notes_of

ID = "id"
"""The column of the examples' own names, if there is one."""
DOCUMENT = "document"
"""The role of the column that says which document an example is a part of. It may have another role as well."""
DOCUMENTS = ("document_id", "doc_id", "article_id", "document")
"""Usual names of that column."""
_SAME_NAME = "A flag names the column in all files: where they differ, rename it in one of them."
"""Advice where a column of one split is missing in another."""
NUMBERED = "#"
"""What the names of documents begin with that are only counted in their file, and say nothing of another file's."""


@dataclass
class ColumnRoles:
    """Finds the columns of one source, and remembers which were read as what.

    Attributes:
        source: the rows.
        given: by role, the column that the user named, or several; None where none was. Each must exist.
        lead: of the leading split (train), whose columns this one has in the same roles, if it has them at all.
        columns: by role, the columns found so far.
        notes: what else is to be said of this choice.
        shared: whether other splits are read by the same names.
    """

    source: RowSource
    given: Mapping[str, str | Sequence[str] | None] = field(default_factory=dict)
    lead: ColumnRoles | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shared: bool = False
    _usual: dict[str, Sequence[str]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Raises DataError where the source lacks a column that was named, or where one was named for two roles."""
        roles: dict[str, str] = {}
        pairs = [(role, name) for role, names in self.given.items() for name in _several(names)]
        lacking = [(role, name) for role, name in pairs if name not in self.source.columns]
        if lacking:
            what = " and no ".join(f"column {name!r} (--{role}_column_name)" for role, name in lacking)
            near = [one for _, name in lacking for one in most_similar(name, self.source.columns)[:1]]
            meant = [f"Did you mean {' and '.join(map(repr, near))}?"] if near else []
            raise missing_column(self.source, what, " ".join([*meant, *([_SAME_NAME] if self.shared else [])]))
        for role, name in pairs:
            if role != DOCUMENT and roles.setdefault(name, role) != role:
                raise DataError(
                    f"{self.source.name}: --{roles[name]}_column_name and --{role}_column_name both name {name!r}. "
                    "Name a column for each."
                )

    def find(self, role: str, usual: Sequence[str], *, what: str, any_case: bool = True) -> str:
        """The column of a role: the one named, else the leading split's, else the first usual name without a role.

        Args:
            role: `text`, say.
            usual: names in lower case, the likeliest first.
            what: the column's contents, for the message (`texts`).
            any_case: whether a usual name matches in any case, and with blanks or hyphens for underscores; of columns
                that differ in that alone, the first.

        Raises: DataError that lists the columns.
        """
        found = self.look(role, usual, any_case=any_case)
        if found is None:
            raise self.missing({role: (what, usual)})
        return found

    def missing(self, roles: Mapping[str, tuple[str, Sequence[str]]]) -> DataError:
        """The error for roles without a column: of each its contents and its usual names."""
        names, advice = [], ""
        for role, (what, usual) in roles.items():
            if self.lead is not None and role in self.lead.columns:
                columns = ", ".join(map(repr, self.lead.columns[role]))
                names.append(f"column {columns} (that of {what} in {self.lead.source.name})")
                advice = f" {_SAME_NAME}"
            known = ", ".join(usual[:MAX_NAMES]) + (", …" if len(usual) > MAX_NAMES else "")
            names.append(f"column of {what} with a usual name ({known})")
        flags = " and ".join(f"--{role}_column_name" for role in roles)
        advice = f"Name {'it' if len(roles) == 1 else 'them'} with {flags}.{advice}"
        return missing_column(self.source, " and no ".join(names), advice)

    def look(self, role: str, usual: Sequence[str], *, any_case: bool = True) -> str | None:
        """As `find`, but None where there is no such column."""
        named = _several(self.given.get(role))
        found = named[0] if named else self.of_lead(role) or next(iter(self.matching(usual, any_case=any_case)), None)
        if found is not None:
            self.use(role, found, usual=() if named else usual)
        return found

    def of_lead(self, role: str) -> str | None:
        """The leading split's column of a role, if it has one there, and that is a free column here."""
        names = self.lead.columns.get(role, ()) if self.lead is not None else ()
        return next((name for name in names[:1] if name in self._free()), None)

    def matching(self, usual: Sequence[str], *, any_case: bool = True) -> list[str]:
        """The columns with one of the usual names that have no other role: the leading split's, then the likeliest."""
        free = {plain(name) if any_case else name: name for name in reversed(self._free())}
        known = {name for names in self.lead.columns.values() for name in names} if self.lead is not None else set()
        return sorted((free[name] for name in usual if name in free), key=lambda name: name not in known)

    def _free(self) -> list[str]:
        """The columns that have no role, and are named for none."""
        named = [_several(names) for role, names in self.given.items() if role != DOCUMENT]
        taken = {name for names in (*self.columns.values(), *named) for name in names}
        return [name for name in self.source.columns if name not in taken]

    def use(self, role: str, *columns: str, usual: Sequence[str] = ()) -> None:
        """Give columns a role. `usual`: names of other columns that might have it as well, which is then said."""
        self.columns[role] = list(columns)
        self._usual[role] = usual

    def document(self) -> str | None:
        """The column of the documents: the one in use, the one named, else one with a usual name; None without any."""
        return self.columns[DOCUMENT][0] if DOCUMENT in self.columns else self.look(DOCUMENT, DOCUMENTS)

    def unused(self) -> list[str]:
        """The columns without a role."""
        aliases = _aliases(self.source)
        used = {aliases.get(name, name) for names in self.columns.values() for name in names} | {ID}
        return [name for name in self.source.columns if name not in used and name not in aliases]

    def record(self) -> dict[str, Any]:
        """What was understood, as JSON: format, columns by role, the columns left, and notes."""
        aliases = _aliases(self.source)
        columns = {role: [aliases.get(name, name) for name in names] for role, names in self.columns.items()}
        if ID in self.source.columns and ID not in columns:
            columns[ID] = [ID]
        unused = self.unused()
        others = []
        for role, usual in self._usual.items():
            plausible = [name for name in self.matching(usual) if name in unused]
            if plausible:
                chosen, names = ", ".join(columns[role]), " or ".join(plausible)
                known = self.lead is not None and self.columns[role] == self.lead.columns.get(role)
                why = "as in train" if known else "the likeliest name"
                others.append(f"{role} is read from {chosen}, {why}; it could also be {names} (--{role}_column_name)")
        notes = [*notes_of(self.source), *self.notes, *others]
        return {"format": format_of(self.source), "columns": columns, "unused": unused, "notes": notes}


def roles_of_splits(sources: Mapping[str, RowSource], given: Mapping[str, Any]) -> dict[str, ColumnRoles]:
    """By split, the roles of its columns: train's (or else the first split's) come first, and lead the others'.

    The columns of the leading split must be found before those of another: in the order of what is returned.
    """
    name = leading(sources)
    lead = ColumnRoles(sources[name], given)
    others = {
        other: ColumnRoles(source, given, lead, shared=True) for other, source in sources.items() if other != name
    }
    return {name: lead, **others}


def leading(splits: Iterable[str]) -> str:
    """The split by which the others are read: train, else the first."""
    names = [*splits]
    return "train" if "train" in names else names[0]


def given_columns(settings: Any, *roles: str) -> dict[str, Any]:
    """By role, the column that settings name by `--…_column_name`; that of the documents among them."""
    named = {role: getattr(settings, f"{role}_column_name") for role in roles}
    return {**named, DOCUMENT: getattr(settings, f"{DOCUMENT}_column_name", None)}


def bare_name(name: str) -> str:
    """A name in lower case without blanks and marks: `Sentence #` is `sentence`, `start_offset` is `startoffset`."""
    return re.sub(r"[\W_]", "", name.lower())


def missing_column(source: RowSource, what: str, advice: str = "") -> DataError:
    """The error for a source that lacks a column."""
    found = [name for name in source.columns if name not in _aliases(source)]
    listed = ", ".join(found[:MAX_LISTED]) + (f", … ({len(found):,} in all)" if len(found) > MAX_LISTED else "")
    if len(found) == 1 and hasattr(source, "delimiter"):
        listed += " (one column only: a table needs a comma, a semicolon, a tab or | between its cells)"
    return DataError(f"{source.name}: no {what}. Columns found: {listed}. {advice}".rstrip())


MAX_LISTED = 40
"""Columns that a message lists."""
MAX_NAMES = 12
"""Usual names that a message lists."""


def plain(name: str) -> str:
    """A column's name as usual names are written: `Review Text` is `review_text`."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _several(names: str | Sequence[str] | None) -> list[str]:
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def _aliases(source: RowSource) -> Mapping[str, str]:
    """Second names of columns, which readers may give (the tokens of a column file are its column 0, say)."""
    found: Mapping[str, str] = getattr(source, "aliases", {})
    return found
