#include "pair_distill.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

#include <cmath>
#include <cstdio>
#include <cstring>

using namespace LAMMPS_NS;
using namespace distill;

PairDistill::PairDistill(LAMMPS *lmp) : Pair(lmp)
{
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  centroidstressflag = CENTROID_NOTAVAIL;
}

PairDistill::~PairDistill()
{
  if (!allocated) return;
  memory->destroy(setflag);
  memory->destroy(cutsq);
}

void PairDistill::allocate()
{
  allocated = 1;
  const int n = atom->ntypes;
  memory->create(setflag, n + 1, n + 1, "pair:setflag");
  memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
  map = new int[n + 1];
  for (int i = 1; i <= n; i++)
    for (int j = 1; j <= n; j++) setflag[i][j] = 0;
}

void PairDistill::settings(int narg, char **)
{
  if (narg) error->all(FLERR, "pair_style distill takes no arguments: precision and cutoff are in the model file");
}

// pair_coeff * * FILE ELEMENT ...   an element for each atom type
void PairDistill::coeff(int narg, char **arg)
{
  if (narg != 3 + atom->ntypes)
    error->all(FLERR, "pair_style distill needs: pair_coeff * * FILE and {} elements, one for each atom type", atom->ntypes);
  if (!allocated) allocate();
  map_element2type(narg - 3, arg + 3);
  try {
    student = std::make_unique<Student>(read(arg[2]));
    const auto &known = student->elements;
    element_of_type.assign(atom->ntypes + 1, 0);
    for (int type = 1; type <= atom->ntypes; type++) {
      const std::string name = arg[2 + type];
      size_t k = 0;
      while (k < known.size() && known[k] != name) k++;
      if (k == known.size()) throw ModelError("it does not know the element " + name + " of atom type " + std::to_string(type));
      element_of_type[type] = k;
    }
  } catch (const std::exception &problem) {
    error->all(FLERR, "{}: {}", arg[2], problem.what());
  }
  comm_forward = (student->exchanged_bytes() + 7) / 8;
}

// The content of a file, read once and sent to all ranks.
std::string PairDistill::read(const char *name)
{
  std::string content;
  bigint size = -1;
  if (comm->me == 0) {
    if (FILE *file = utils::open_potential(name, lmp, nullptr)) {
      char buffer[1 << 16];
      for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) content.append(buffer, n);
      fclose(file);
      size = content.size();
    }
  }
  MPI_Bcast(&size, 1, MPI_LMP_BIGINT, 0, world);
  if (size < 0) throw ModelError("there is no such file");
  content.resize(size);
  MPI_Bcast(&content[0], (int) size, MPI_CHAR, 0, world);
  return content;
}

void PairDistill::init_style()
{
  if (!force->newton_pair) error->all(FLERR, "pair_style distill needs: newton on");
  if (std::strcmp(update->unit_style, "metal")) error->all(FLERR, "pair_style distill needs: units metal");
  neighbor->add_request(this, NeighConst::REQ_FULL);
}

double PairDistill::init_one(int i, int j)
{
  if (!setflag[i][j]) error->all(FLERR, "pair_style distill: pair_coeff * * is missing");
  return student->cutoff;
}

void PairDistill::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  if (neighbor->ago == 0 || (int) owner.size() != atom->nlocal + atom->nghost) find_owners();
  find_edges();
  energies.resize(near.own);
  gradients.resize(3 * near.edges.size());
  student->evaluate(near, *this, energies.data(), gradients.data());
  tally_atoms(eflag);
  tally_edges();
  if (vflag_fdotr) virial_fdotr_compute();
}

// On a single rank ghosts are images of its own atoms, whose features serve for them: nothing has to be exchanged.
void PairDistill::find_owners()
{
  const int all = atom->nlocal + atom->nghost;
  owner.resize(all);
  for (int i = 0; i < all; i++) owner[i] = i;
  near.own = atom->nlocal;
  near.rows = all;
  if (comm->nprocs > 1) return;
  std::vector<double> rows(owner.begin(), owner.end());
  exchange_rows(rows.data(), 1, sizeof(double));
  for (int i = 0; i < all; i++) owner[i] = (int) rows[i];
  near.rows = atom->nlocal;
}

void PairDistill::find_edges()
{
  double **x = atom->x;
  const double cutoff_squared = student->cutoff * student->cutoff;
  element_of_row.resize(near.rows);
  for (int i = 0; i < near.rows; i++) element_of_row[i] = element_of_type[atom->type[i]];
  near.element = element_of_row.data();
  near.start.assign(near.own + 1, 0);
  near.edges.clear();
  atom_of_edge.clear();
  for (int i = 0; i < near.own; i++) {
    const int *neighbours = list->firstneigh[i];
    for (int k = 0; k < list->numneigh[i]; k++) {
      const int j = neighbours[k] & NEIGHMASK;
      const double dx = x[j][0] - x[i][0], dy = x[j][1] - x[i][1], dz = x[j][2] - x[i][2];
      const double squared = dx * dx + dy * dy + dz * dz;
      if (squared >= cutoff_squared) continue;
      const double d = std::sqrt(squared);
      near.edges.push_back({owner[j], {dx / d, dy / d, dz / d}, d});
      atom_of_edge.push_back(j);
    }
    near.start[i + 1] = near.edges.size();
  }
}

// Energies of atoms; refuses numbers that are none.
void PairDistill::tally_atoms(int eflag)
{
  for (int i = 0; i < near.own; i++) {
    double sum = energies[i];
    for (size_t e = 3 * near.start[i]; e < 3 * near.start[i + 1]; e++) sum += gradients[e];
    if (!is_finite(sum))
      error->one(FLERR, "pair_style distill: the energy or the forces of atom {} are not finite numbers: atoms are at one "
                 "place, or the simulation has blown up", atom->tag ? atom->tag[i] : i + 1);
    if (eflag && eflag_global) eng_vdwl += energies[i];
    if (eflag && eflag_atom) eatom[i] += energies[i];
  }
}

// Forces on both ends of each edge; of the virial of atoms each has half.
void PairDistill::tally_edges()
{
  double **f = atom->f;
  for (int i = 0; i < near.own; i++)
    for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
      const int j = atom_of_edge[e];
      const double *g = &gradients[3 * e];
      for (int k = 0; k < 3; k++) {
        f[i][k] += g[k];
        f[j][k] -= g[k];
      }
      if (!vflag_atom) continue;
      const Edge &edge = near.edges[e];
      const double half = -0.5 * edge.distance, *u = edge.direction;
      const double w[6] = {u[0] * g[0], u[1] * g[1], u[2] * g[2], 0.5 * (u[0] * g[1] + u[1] * g[0]),
                           0.5 * (u[0] * g[2] + u[2] * g[0]), 0.5 * (u[1] * g[2] + u[2] * g[1])};
      for (int k = 0; k < 6; k++) {
        vatom[i][k] += half * w[k];
        vatom[j][k] += half * w[k];
      }
    }
}

void PairDistill::exchange_rows(void *rows, int numbers, int size)
{
  exchanged = static_cast<char *>(rows);
  exchanged_numbers = numbers;
  exchanged_size = size;
  comm->forward_comm(this);
}

void PairDistill::to_ghosts(float *rows, int width)
{
  if (comm->nprocs > 1) exchange_rows(rows, width, sizeof(float));
}

void PairDistill::to_ghosts(double *rows, int width)
{
  if (comm->nprocs > 1) exchange_rows(rows, width, sizeof(double));
}

int PairDistill::pack_forward_comm(int n, int *atoms, double *buffer, int, int *)
{
  const size_t bytes = (size_t) exchanged_numbers * exchanged_size, step = doubles_of_row();
  for (int k = 0; k < n; k++) std::memcpy(buffer + k * step, exchanged + atoms[k] * bytes, bytes);
  return n * step;
}

void PairDistill::unpack_forward_comm(int n, int first, double *buffer)
{
  const size_t bytes = (size_t) exchanged_numbers * exchanged_size, step = doubles_of_row();
  for (int k = 0; k < n; k++) std::memcpy(exchanged + (first + k) * bytes, buffer + k * step, bytes);
}

double PairDistill::memory_usage()
{
  return Pair::memory_usage() + near.edges.capacity() * (sizeof(Edge) + sizeof(int) + 3 * sizeof(double)) +
      energies.capacity() * sizeof(double) + (student ? student->memory_usage() : 0);
}
