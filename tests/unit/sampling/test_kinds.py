"""Every kind of structure grows as it should: slabs with fixed layers, single atoms, molecules, large cells."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from toys import RULES, Toy, cluster, crystal, displacement, fix, flat, least_distance, members, nearest_members, slab

from distill.base.errors import UserError, WorkError
from distill.sampling.grow import grow
from distill.structures.frames import Frames, concatenate

BOTTOM = np.array([True, True, False, False, False, False])  # of the slab
KEPT_CELL = replace(RULES, structures=6, cell_strain=0.0)
STRAINED = replace(RULES, structures=6, cell_strain=0.03)


def half_fixed_slab():
    return fix(Frames.from_atoms([slab()]), BOTTOM)


def deformation(one, seed):
    return np.linalg.solve(seed.cells[0], one.cells[0])


def test_fixed_atoms_do_not_move_at_all(tmp_path):
    seed, toy = half_fixed_slab(), Toy()
    result = grow(toy, seed, KEPT_CELL, seed=0, journal=tmp_path / "j")
    for one in toy.seen:
        assert np.array_equal(one.positions[BOTTOM], seed.positions[BOTTOM])
    for one in result.structures:
        assert np.array_equal(one.fixed, seed.fixed)
        assert np.all(one.positions[~BOTTOM] != seed.positions[~BOTTOM])
        assert one.forces[BOTTOM].any()  # a label is what the teacher says


def test_fixed_atoms_follow_the_cell(tmp_path):
    seed = half_fixed_slab()
    result = grow(Toy(), seed, replace(STRAINED, structures=20), seed=0, journal=tmp_path / "j")
    assert result.generation.max() > 2
    for one in result.structures:
        strain = deformation(one, seed)
        assert np.abs(strain - np.eye(3)).max() > 1e-4
        assert strain[2] == pytest.approx(np.array([0, 0, 1]), abs=1e-12)  # nothing along the vacuum
        # Rounding of one multiplication for every generation, at 10 Å.
        assert one.positions[BOTTOM] == pytest.approx(seed.positions[BOTTOM] @ strain, abs=1e-12)


@pytest.mark.parametrize("rules", [KEPT_CELL, STRAINED])
def test_displacements_count_the_atoms_that_may_move(tmp_path, rules):
    seed = half_fixed_slab()
    result = grow(Toy(), seed, rules, seed=0, journal=tmp_path / "j")
    assert nearest_members(result.structures, seed) >= 0.1 - 1e-9
    family = members(result.structures, seed, 0)
    for i, one in enumerate(family[1:]):
        assert result.displacement_from_seed[i] == pytest.approx(displacement(one, family[0], seed), abs=1e-9)
        over_all = np.linalg.norm(one - family[0], axis=1).mean()
        assert result.displacement_from_seed[i] == pytest.approx(over_all * 6 / 4, abs=1e-9)


def test_the_centre_of_mass_is_free_only_along_directions_with_something_fixed(tmp_path):
    mask = np.zeros((6, 3), dtype=bool)
    mask[0, 2] = mask[3, 2] = True  # FixCartesian along the normal
    seed = fix(Frames.from_atoms([slab()]), mask)
    result = grow(Toy(), seed, KEPT_CELL, seed=0, journal=tmp_path / "j")
    for one in result.structures:
        shift = (one.positions - seed.positions).mean(axis=0)
        assert shift[:2] == pytest.approx(np.zeros(2), abs=1e-12)
        assert abs(shift[2]) > 1e-4
        assert np.array_equal(one.positions[mask], seed.positions[mask])
        assert np.all(one.positions[0, :2] != seed.positions[0, :2])
    assert nearest_members(result.structures, seed) >= 0.1 - 1e-9


def test_a_single_free_atom_moves_among_fixed_ones(tmp_path):
    seed = fix(crystal(), [True, True, True, False])
    result = grow(Toy(), seed, KEPT_CELL, seed=0, journal=tmp_path / "j")
    moved = np.linalg.norm(result.structures.positions.reshape(6, 4, 3) - seed.positions, axis=2)
    assert not moved[:, :3].any()
    assert moved[:, 3] == pytest.approx(result.displacement_from_seed, abs=1e-9)


def test_a_molecule_grows_without_a_cell(tmp_path):
    seed = Frames.from_atoms([cluster()])
    result = grow(Toy(), seed, STRAINED, seed=0, journal=tmp_path / "j")
    assert not result.structures.cells.any()
    assert result.structures.stress is None
    assert nearest_members(result.structures, seed) >= 0.1 - 1e-9


def test_a_slab_without_a_third_vector_grows(tmp_path):
    atoms = slab()
    atoms.cell[2] = 0.0
    seed = Frames.from_atoms([atoms])
    result = grow(Toy(), seed, STRAINED, seed=0, journal=tmp_path / "j")
    assert len(result.structures) == 6
    assert not result.structures.cells[:, 2].any()


def test_a_single_atom_grows_by_strain(tmp_path):
    seed, toy = Frames.from_atoms([bulk("Cu", "fcc", a=3.65)]), Toy()
    result = grow(toy, seed, replace(STRAINED, cell_strain=0.1), seed=0, journal=tmp_path / "j")
    cells = np.concatenate([seed.cells, result.structures.cells])
    apart = [np.linalg.norm(a - b, axis=1).mean() for i, a in enumerate(cells) for b in cells[:i]]
    assert min(apart) >= 0.1 - 1e-12
    assert not result.structures.positions.any()
    from_seed = np.linalg.norm(result.structures.cells - seed.cells, axis=2).mean(axis=1)
    assert result.displacement_from_seed == pytest.approx(from_seed, abs=1e-12)


def test_no_structure_is_evaluated_twice(tmp_path):
    """Where relaxation cannot move an atom (it is alone, or forces vanish by symmetry), more calls bring nothing."""
    alone, toy = Frames.from_atoms([bulk("Cu", "fcc", a=3.65)]), Toy()
    grow(toy, alone, replace(STRAINED, cell_strain=0.1), seed=0, journal=tmp_path / "j")
    assert len({(one.cells.tobytes(), one.positions.tobytes()) for one in toy.seen}) == toy.calls


BARREN = {
    "alone in its cell": (Frames.from_atoms([bulk("Cu", "fcc", a=3.65)]), KEPT_CELL, "set cell_strain"),
    "alone": (Frames.from_atoms([Atoms("Cu")]), STRAINED, "leave it out"),
    "fixed": (fix(crystal(), [True] * 4), STRAINED, "all its atoms are fixed"),
}


@pytest.mark.parametrize("kind", BARREN)
def test_what_cannot_move_grows_nothing_and_says_so(tmp_path, kind):
    seed, rules, reason = BARREN[kind]
    toy = Toy()
    seeds = concatenate([crystal(), seed, Frames.from_atoms([cluster()])])
    result = grow(toy, seeds, rules, seed=0, journal=tmp_path / "j")
    assert result.per_tree == (2, 0, 2)
    (warning,) = result.warnings
    assert warning.startswith("tree 1 grows nothing")
    assert reason in warning
    assert len(result.roots) == 3
    with pytest.raises(WorkError, match=f"no structure was accepted.*{reason}"):
        grow(toy, seed, rules, seed=0, journal=tmp_path / "k")


def test_a_large_cell_grows(tmp_path):
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(5)
    seed = Frames.from_atoms([atoms])
    toy = flat(0.0, seed)
    result = grow(toy, seed, replace(RULES, structures=2, max_relax_steps=2), seed=0, journal=tmp_path / "j")
    again = grow(Toy(most=0), seed, replace(RULES, structures=2, max_relax_steps=2), seed=0, journal=tmp_path / "j")
    assert np.array_equal(again.structures.positions, result.structures.positions)
    assert (len(atoms), len(result.structures)) == (1000, 2)
    assert nearest_members(result.structures, seed) >= 0.1
    assert toy.calls <= 1 + 2 * 3


def test_skewed_cells_of_one_crystal_obey_the_rules_alike(tmp_path):
    cubic = crystal()
    shear = np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]])  # another cell of the same lattice
    skewed = replace(cubic, cells=(shear @ cubic.cells[0])[None])
    rules = replace(KEPT_CELL, structures=20)
    toys = [Toy(lambda one: (0.0, -one.positions + cubic.positions, np.eye(3))) for _ in range(2)]
    results = [grow(toys[i], s, rules, seed=0, journal=tmp_path / str(i)) for i, s in enumerate((cubic, skewed))]
    # The same random numbers, and minimum images that do not depend on the cell: the same structures.
    assert np.array_equal(results[0].structures.positions, results[1].structures.positions)
    assert results[0].funnel == results[1].funnel


def water():
    return Frames.from_atoms([molecule("H2O")])


def harmless(one):
    return 0.0, np.zeros((len(one.numbers), 3)), np.eye(3)


def test_pairs_have_their_own_least_distances(tmp_path):
    rules = replace(KEPT_CELL, structures=30, sigma=(0.1, 0.3), min_displacement=0.02, min_separation={"O-H": 0.9})
    result = grow(Toy(harmless), water(), rules, seed=0, journal=tmp_path / "j")
    positions = result.structures.positions.reshape(30, 3, 3)
    oh = np.linalg.norm(positions[:, 1:] - positions[:, :1], axis=2)
    assert oh.min() >= 0.9
    rules = replace(rules, min_separation={"H-H": 1.4})
    result = grow(Toy(harmless), water(), rules, seed=0, journal=tmp_path / "k")
    positions = result.structures.positions.reshape(30, 3, 3)
    oh = np.linalg.norm(positions[:, 1:] - positions[:, :1], axis=2)
    assert 0.582 <= oh.min() < 0.9  # 0.6 of the covalent radii
    assert min(np.linalg.norm(p[1] - p[2]) for p in positions) >= 1.4


def test_a_seed_that_breaks_the_limit_of_a_pair_is_refused(tmp_path):
    rules = replace(KEPT_CELL, min_separation={"O-H": 0.98})
    with pytest.raises(UserError, match=r"seed structure 1: atoms 0 and [12] are 0\.97 Å apart.*lower min_separation"):
        grow(Toy(harmless), concatenate([crystal(), water()]), rules, seed=0, journal=tmp_path / "j")
    assert least_distance(water()) < 0.98
