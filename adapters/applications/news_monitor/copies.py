"""Near-duplicates of items, by MinHash over shingles of characters and locality-sensitive hashing (datasketch)."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

PERMUTATIONS = 128
SCHEME = "affine32"
NEAR_CHARACTERS = 5
"""Of a shingle: five characters of a text in lower case, blanks as one."""


class Copies:
    """Items of the last hours, among which copies are looked for."""

    def __init__(self, similarity: float, seconds: float) -> None:
        """Args: similarity: Jaccard's, of the sets of shingles, from which two texts are copies; seconds: between
        them, at most."""
        from datasketch import MinHash, MinHashLSH

        self.similarity, self.seconds = similarity, seconds
        self.index: Any = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
        self.blank: Any = MinHash(num_perm=PERMUTATIONS, scheme=SCHEME)
        self.known: dict[str, tuple[float, Any]] = {}
        self.order: deque[str] = deque()

    def sketch(self, text: str) -> bytes:
        """What a text is compared by."""
        minhash = self.minhash()
        plain = " ".join(text.casefold().split())
        count = max(len(plain) - NEAR_CHARACTERS + 1, 1)
        minhash.update_batch([plain[i : i + NEAR_CHARACTERS].encode("utf-8", "replace") for i in range(count)])
        return np.asarray(minhash.hashvalues, dtype=np.uint64).tobytes()

    def original(self, sketch: bytes, at: float) -> str | None:
        """Id of the most similar item of these hours; None where none is similar enough."""
        own = self.minhash(sketch)
        best: tuple[float, str] | None = None
        for id in self.index.query(own):
            when, other = self.known[id]
            similarity = float(own.jaccard(other))
            if abs(at - when) <= self.seconds and similarity >= self.similarity:
                best = max(best or (0.0, ""), (similarity, id))
        return None if best is None else best[1]

    def add(self, id: str, sketch: bytes, at: float) -> None:
        """Know an item that is no copy."""
        own = self.minhash(sketch)
        self.known[id] = at, own
        self.order.append(id)
        self.index.insert(id, own, check_duplication=False)

    def forget(self, before: float) -> None:
        """Leave out items that no further one can be a copy of. In the order in which they came."""
        while self.order and self.known[self.order[0]][0] < before:
            id = self.order.popleft()
            self.index.remove(id)
            del self.known[id]

    def minhash(self, sketch: bytes | None = None) -> Any:
        """What is behind a sketch. Its permutations, which are slow to make, are those of all."""
        from datasketch import MinHash

        values = None if sketch is None else np.frombuffer(sketch, dtype=np.uint64)
        return MinHash(num_perm=PERMUTATIONS, hashvalues=values, permutations=self.blank.permutations, scheme=SCHEME)
