from collections.abc import Sequence


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of `y` over `x`, by least squares. `points` are at least two pairs (x, y) with different `x`."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def steepest(points: Sequence[tuple[float, float]], width: float) -> float:
    """The most that `y` grows from one point to the first point at least `width` later, or to the last point.

    `points` are at least two, in the order of `x`.
    """
    ends = [next((y for x, y in points if x >= start + width), points[-1][1]) for start, _ in points]
    return max(end - y for (_, y), end in zip(points[:-1], ends, strict=False))
