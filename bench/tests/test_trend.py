import pytest

from bench.hostile.trend import slope, steepest


def test_the_slope_of_a_line_is_its_own() -> None:
    assert slope([(0, 5), (10, 7), (20, 9), (50, 15)]) == pytest.approx(0.2)


def test_an_outlier_bends_the_slope_less_than_it_lifts_the_ends() -> None:
    assert slope([(0, 1), (1, 1), (2, 1), (3, 2)]) == pytest.approx(0.3)


def test_the_steepest_window_is_found_amid_flat_ones() -> None:
    assert steepest([(0, 1), (1, 1), (2, 4), (3, 6), (4, 6)], 2) == 5


def test_what_is_shorter_than_the_window_counts_as_a_whole() -> None:
    assert steepest([(0, 1), (1, 2)], 100) == 1


def test_memory_that_falls_has_no_steep_window() -> None:
    assert steepest([(0, 9), (1, 8), (2, 7)], 1) == -1
