"""How far two spellings are apart."""

__all__ = ["edits"]


def edits(a: str, b: str, most: int) -> int:
    """Letters inserted, deleted, replaced or swapped with the next (Damerau, 1964).

    `most` + 1 for anything above `most`.

    Example:
        >>> edits("bergne", "bergen", 2), edits("oslo", "bergen", 2)
        (1, 3)
    """
    if abs(len(a) - len(b)) > most:
        return most + 1
    earlier: list[int] = []
    before = list(range(len(b) + 1))
    for row, letter in enumerate(a, start=1):
        now = [row]
        for column, other in enumerate(b, start=1):
            cost = min(before[column] + 1, now[-1] + 1, before[column - 1] + (letter != other))
            if row > 1 < column and letter == b[column - 2] and a[row - 2] == other:
                cost = min(cost, earlier[column - 2] + 1)
            now.append(cost)
        if min(now) > most:
            return most + 1
        earlier, before = before, now
    return min(before[-1], most + 1)
