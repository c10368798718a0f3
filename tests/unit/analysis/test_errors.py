"""The error table: exact on cases worked out by hand, intervals that cover, gaps that are said."""

import csv
import io
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.analysis.errors import (
    ErrorRow,
    error_table,
    force_error_difference,
    resample,
)
from distill.base.random import stream
from distill.structures.frames import Frames

EXACT = 1e-12  # sums of a few numbers of order one: rounding only


def make_frames(n_atoms, energy=None, forces=None, stress=None, families=None) -> Frames:
    b, n = len(n_atoms), sum(n_atoms)
    info = tuple({"config_type": f} for f in families) if families else ()
    cells, pbc = np.tile(np.eye(3), (b, 1, 1)), np.ones((b, 3))
    return Frames(n_atoms, np.full(n, 14), np.zeros((n, 3)), cells, pbc, energy, forces, stress, info)


def pick(rows, quantity, statistic, family="all") -> ErrorRow:
    (row,) = [r for r in rows if (r.config_type, r.quantity, r.statistic) == (family, quantity, statistic)]
    return row


def test_statistics_of_a_case_worked_by_hand():
    # energies per atom: 1, 2, 3 against 1.1, 2.0, 2.6: errors 0.1, 0, 0.4; sum of squares 0.17; variation 2
    reference = make_frames([1, 2, 4], energy=[1, 4, 12])
    predicted = make_frames([1, 2, 4], energy=[1.1, 4, 10.4])
    rows = error_table(reference, predicted, resamples=10)
    values = {s: pick(rows, "energy_per_atom", s).value for s in ("mae", "rmse", "r2", "max")}
    assert values["mae"] == pytest.approx(0.5 / 3, abs=EXACT)
    assert values["rmse"] == pytest.approx(np.sqrt(0.17 / 3), abs=EXACT)
    assert values["r2"] == pytest.approx(1 - 0.17 / 2, abs=EXACT)
    assert values["max"] == pytest.approx(0.4, abs=EXACT)
    assert {r.unit for r in rows} == {"eV/atom", "1"}
    assert {r.n for r in rows} == {3}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.integers(0, 10**6))
def test_force_statistics_agree_with_numpy_over_all_components(n_atoms, seed):
    rng = np.random.default_rng(seed)
    y, y_hat = rng.normal(size=(2, sum(n_atoms), 3)) + 7
    rows = error_table(make_frames(n_atoms, forces=y), make_frames(n_atoms, forces=y_hat), resamples=5)
    e = y_hat - y
    # 1e-9: R² is a difference of sums of up to 90 numbers of order ten
    assert pick(rows, "forces", "mae").value == pytest.approx(np.abs(e).mean(), abs=1e-9)
    assert pick(rows, "forces", "rmse").value == pytest.approx(np.sqrt((e**2).mean()), abs=1e-9)
    assert pick(rows, "forces", "r2").value == pytest.approx(1 - (e**2).sum() / ((y - y.mean()) ** 2).sum(), abs=1e-9)
    assert pick(rows, "forces", "max").value == np.abs(e).max()


def test_r2_of_large_energies_keeps_its_digits():
    # A total energy of -1e5 eV/atom with errors of 1 meV: R² must not drown in the offset.
    y = -1e5 + np.array([0.0, 0.1, 0.2, 0.3])
    rows = error_table(make_frames([1] * 4, energy=y), make_frames([1] * 4, energy=y + [1e-3, -1e-3] * 2))
    # 1e-8: -1e5 itself is stored to 1e-11, the variation is 0.05
    assert pick(rows, "energy_per_atom", "r2").value == pytest.approx(1 - 4e-6 / 0.05, abs=1e-8)


def test_stress_counts_six_components_and_leaves_unlabelled_structures_out():
    reference = np.zeros((3, 3, 3))
    reference[1] = np.nan
    predicted = np.zeros((3, 3, 3))
    predicted[0, 0, 1] = predicted[0, 1, 0] = 0.6
    predicted[1] = 100.0
    rows = error_table(
        make_frames([1, 1, 1], stress=reference, families=["a", "b", "b"]),
        make_frames([1, 1, 1], stress=predicted),
        resamples=5,
    )
    assert pick(rows, "stress", "mae").value == pytest.approx(0.6 / 12, abs=EXACT)
    assert pick(rows, "stress", "mae").n == 2
    assert pick(rows, "stress", "mae", "b").n == 1


def test_families_partition_the_structures():
    families = ["hot", "cold", "hot"]
    reference = make_frames([1, 1, 1], energy=[0, 0, 0], families=families)
    rows = error_table(reference, make_frames([1, 1, 1], energy=[1, 5, 3]))
    assert list(dict.fromkeys(r.config_type for r in rows)) == ["all", "cold", "hot"]
    assert pick(rows, "energy_per_atom", "mae", "hot").value == pytest.approx(2, abs=EXACT)
    assert pick(rows, "energy_per_atom", "mae", "cold").value == pytest.approx(5, abs=EXACT)


def test_a_quantity_that_one_side_lacks_is_left_out():
    rows = error_table(make_frames([1, 1], energy=[0, 1], forces=np.zeros((2, 3))), make_frames([1, 1], energy=[0, 1]))
    assert {r.quantity for r in rows} == {"energy_per_atom"}


def test_undefined_numbers_are_none():
    constant = error_table(make_frames([1, 1], energy=[3, 3]), make_frames([1, 1], energy=[3, 4]))
    assert pick(constant, "energy_per_atom", "r2") == ErrorRow("all", "energy_per_atom", "r2", None, None, None, "1", 2)
    single = pick(error_table(make_frames([1], energy=[3]), make_frames([1], energy=[4])), "energy_per_atom", "mae")
    assert (single.value, single.low, single.high) == (1, None, None)
    broken = error_table(make_frames([1, 1], energy=[3, 5]), make_frames([1, 1], energy=[3, np.nan]))
    assert all((r.value, r.low, r.high) == (None, None, None) for r in broken)


def test_the_maximum_has_no_interval():
    rows = error_table(make_frames([1] * 5, energy=np.arange(5)), make_frames([1] * 5, energy=np.arange(5) ** 1.5))
    assert (pick(rows, "energy_per_atom", "max").low, pick(rows, "energy_per_atom", "max").high) == (None, None)


def test_interval_resamples_whole_structures():
    # One structure of two atoms has error 1 on every component, the other 0: resamples give a MAE of 0, 1/2 or 1 only,
    # and the 95 % interval is all of [0, 1] although 12 components were compared.
    forces = np.zeros((4, 3))
    wrong = forces.copy()
    wrong[:2] = 1
    row = pick(error_table(make_frames([2, 2], forces=forces), make_frames([2, 2], forces=wrong)), "forces", "mae")
    assert (row.value, row.low, row.high) == (0.5, 0, 1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    # |error| of a unit normal: mean sqrt(2/pi). 200 data sets of 60 structures; the percentile bootstrap of their mean
    # covers about 94 %; 4 binomial standard deviations (1.7 % each) are allowed below that.
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        rows = error_table(
            make_frames([1] * 60, energy=np.zeros(60)), make_frames([1] * 60, energy=rng.normal(size=60)), resamples=300
        )
        row = pick(rows, "energy_per_atom", "mae")
        covered += row.low <= np.sqrt(2 / np.pi) <= row.high
    assert 0.87 < covered / 200 <= 1.0


def test_two_models_share_their_resamples():
    reference = make_frames([1] * 8, energy=np.zeros(8))
    e = np.random.default_rng(2).normal(size=8)
    first, second = (
        pick(error_table(reference, make_frames([1] * 8, energy=k * e)), "energy_per_atom", "mae") for k in (1, 3)
    )
    # A model with three times the errors has three times the interval only if the resamples are the same ones.
    assert (second.low, second.high) == pytest.approx((3 * first.low, 3 * first.high), rel=EXACT)


def test_weights_are_bootstrap_counts():
    weights = resample(7, 50, stream(0, "test"))
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()


def test_different_structures_are_refused():
    with pytest.raises(ValueError, match="not of the same structures"):
        error_table(make_frames([1, 2], energy=[0, 0]), make_frames([2, 1], energy=[0, 0]))


def test_rows_are_columns_of_a_csv_file():
    rows = error_table(make_frames([1, 1], energy=[0, 1]), make_frames([1, 1], energy=[0, 2]))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(rows[0])))
    writer.writerows(asdict(r) for r in rows)
    assert text.getvalue().splitlines()[0].startswith("all,energy_per_atom,mae,0.5,")


def test_a_paired_difference_is_that_of_the_errors_and_narrower_than_they_are():
    rng = np.random.default_rng(0)
    truth = make_frames([4] * 40, forces=np.zeros((160, 3)))
    hard = np.repeat(rng.uniform(0.1, 1.0, 40), 4)[:, None]  # some structures are hard for every model
    better = make_frames([4] * 40, forces=hard + np.zeros((160, 3)))
    worse = make_frames([4] * 40, forces=1.2 * hard + np.zeros((160, 3)))
    found = force_error_difference(truth, [worse], [better])
    errors = [pick(error_table(truth, model), "forces", "mae") for model in (worse, better)]
    assert found.value == pytest.approx(errors[0].value - errors[1].value, abs=EXACT)
    assert found.low > 0, "a model that is worse on every structure is worse in every resample"
    assert errors[1].high > errors[0].low, "the separate intervals cannot tell them apart"


def test_a_model_does_not_differ_from_itself():
    truth = make_frames([2, 3], forces=np.zeros((5, 3)))
    guess = make_frames([2, 3], forces=np.ones((5, 3)))
    found = force_error_difference(truth, [guess], [guess])
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def off_by(*errors):
    """Predictions of forces that are zero in truth, each wrong by the same amount everywhere."""
    return [make_frames([2] * 6, forces=np.full((12, 3), error)) for error in errors]


def test_seeds_are_compared_by_their_means_and_drawn_for_the_interval():
    # Every structure has the same error, so the interval is that of the seeds: drawing two of 0.1 and 0.3 gives 0.1 on
    # average with probability 1/4, and so 0.3, with 1/2 0.2.
    truth = make_frames([2] * 6, forces=np.zeros((12, 3)))
    found = force_error_difference(truth, off_by(0.5), off_by(0.1, 0.3))
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.2, 0.4), abs=EXACT)
    several = force_error_difference(truth, off_by(0.5, 0.5, 0.5), off_by(0.1, 0.1))
    assert (several.value, several.low, several.high) == pytest.approx((0.4, 0.4, 0.4), abs=EXACT)


def test_the_difference_of_seeds_is_that_of_their_mean_errors():
    rng = np.random.default_rng(3)
    n_atoms = [1, 3, 2, 5]
    truth = make_frames(n_atoms, forces=rng.normal(size=(11, 3)))
    first, second = ([make_frames(n_atoms, forces=rng.normal(size=(11, 3))) for _ in range(s)] for s in (3, 2))
    maes = [[np.abs(guess.forces - truth.forces).mean() for guess in model] for model in (first, second)]
    found = force_error_difference(truth, first, second)
    assert found.value == pytest.approx(np.mean(maes[0]) - np.mean(maes[1]), abs=EXACT)
    assert found.low < found.value < found.high


def test_a_model_without_seeds_cannot_be_compared():
    truth = make_frames([2] * 6, forces=np.zeros((12, 3)))
    with pytest.raises(ValueError, match="at least one seed"):
        force_error_difference(truth, off_by(0.5), [])


def test_components_without_a_label_are_in_no_error():
    rng = np.random.default_rng(3)
    y, y_hat = rng.normal(size=(2, 9, 3))
    y[rng.random(y.shape) < 0.4], y[6:] = np.nan, np.nan  # the last structure has no forces at all
    energy = np.array([1.0, np.nan, 3.0])
    reference = make_frames([2, 4, 3], energy=energy, forces=y)
    predicted = make_frames([2, 4, 3], energy=[1.2, 9.0, 3.3], forces=y_hat)
    rows = error_table(reference, predicted, resamples=10)
    known = np.isfinite(y)
    assert pick(rows, "forces", "mae").value == pytest.approx(np.abs(y_hat - y)[known].mean(), abs=EXACT)
    assert pick(rows, "forces", "rmse").value == pytest.approx(np.sqrt(((y_hat - y)[known] ** 2).mean()), abs=EXACT)
    assert pick(rows, "forces", "max").n == 2
    assert pick(rows, "energy_per_atom", "mae").value == pytest.approx((0.1 + 0.1) / 2, abs=EXACT)
    better = make_frames([2, 4, 3], forces=np.where(known, y, 7.0))
    gain = force_error_difference(reference, [predicted], [better], resamples=50)
    assert gain.value == pytest.approx(np.abs(y_hat - y)[known].mean(), abs=EXACT)
