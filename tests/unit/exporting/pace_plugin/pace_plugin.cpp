// LAMMPS' pair style "pace" for tests where LAMMPS has no package ML-PACE: python-ace's own evaluator behind a plugin.
// What is compiled with it is python-ace's source, of an academic licence; the plugin stays on the machine of the test.

#include "ace-evaluator/ace_c_basis.h"
#include "ace-evaluator/ace_recursive.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "lammps.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"

#include <algorithm>
#include <cstring>
#include <memory>

using namespace LAMMPS_NS;

namespace {

class PairPace : public Pair {
 public:
  explicit PairPace(LAMMPS *lmp) : Pair(lmp)
  {
    single_enable = restartinfo = 0;
    one_coeff = manybody_flag = 1;
    centroidstressflag = CENTROID_NOTAVAIL;
  }

  ~PairPace() override
  {
    if (!allocated) return;
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }

  void settings(int narg, char **arg) override
  {
    if (narg > 1) error->all(FLERR, "pair_style pace takes product or recursive");
    recursive = !(narg && !strcmp(arg[0], "product"));
  }

  void coeff(int narg, char **arg) override
  {
    const int n = atom->ntypes;
    if (narg != 3 + n) error->all(FLERR, "pair_coeff * * FILE and {} elements", n);
    memory->create(setflag, n + 1, n + 1, "pair:setflag");
    memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
    map = new int[n + 1];
    allocated = 1;
    map_element2type(narg - 3, arg + 3);
    basis = std::make_unique<ACECTildeBasisSet>(arg[2]);
    evaluator = std::make_unique<ACERecursiveEvaluator>();
    evaluator->set_recursive(recursive);
    evaluator->element_type_mapping.init(n + 1);
    for (int type = 1; type <= n; type++) {
      const int mu = basis->get_species_index_by_name(arg[2 + type]);
      if (mu < 0) error->all(FLERR, "{} has no element {}", arg[2], arg[2 + type]);
      map[type] = evaluator->element_type_mapping(type) = mu;
    }
    evaluator->set_basis(*basis);
  }

  void init_style() override
  {
    if (!force->newton_pair) error->all(FLERR, "pair_style pace needs: newton on");
    neighbor->add_request(this, NeighConst::REQ_FULL);
  }

  double init_one(int i, int j) override
  {
    return std::max(basis->radial_functions->cut(map[i], map[j]), basis->radial_functions->cut(map[j], map[i]));
  }

  void compute(int eflag, int vflag) override
  {
    ev_init(eflag, vflag);
    double **x = atom->x, **f = atom->f;
    int most = 0;
    for (int ii = 0; ii < list->inum; ii++) most = std::max(most, list->numneigh[list->ilist[ii]]);
    evaluator->resize_neighbours_cache(most);
    for (int ii = 0; ii < list->inum; ii++) {
      const int i = list->ilist[ii], n = list->numneigh[i];
      int *neighbours = list->firstneigh[i];
      for (int k = 0; k < n; k++) neighbours[k] &= NEIGHMASK;
      evaluator->compute_atom(i, x, atom->type, n, neighbours);
      for (int k = 0; k < n; k++) {
        const int j = neighbours[k];
        const auto &pull = evaluator->neighbours_forces;
        for (int axis = 0; axis < 3; axis++) {
          f[i][axis] += pull(k, axis);
          f[j][axis] -= pull(k, axis);
        }
        if (vflag_either)
          ev_tally_xyz(i, j, atom->nlocal, 1, 0, 0, pull(k, 0), pull(k, 1), pull(k, 2), x[i][0] - x[j][0],
                       x[i][1] - x[j][1], x[i][2] - x[j][2]);
      }
      if (eflag) ev_tally_full(i, 2 * evaluator->e_atom, 0, 0, 0, 0, 0);
    }
    if (vflag_fdotr) virial_fdotr_compute();
  }

 private:
  bool recursive = true;
  std::unique_ptr<ACECTildeBasisSet> basis;
  std::unique_ptr<ACERecursiveEvaluator> evaluator;
};

}    // namespace

// The interface of LAMMPS' package PLUGIN (lammpsplugin.h), whose header is not installed with the library.
extern "C" {
struct lammpsplugin_t {
  const char *version, *style, *name, *info, *author;
  void *(*creator)(void *);
  void *handle;
};

void lammpsplugin_init(void *lmp, void *handle, void *registered)
{
  lammpsplugin_t plugin = {static_cast<LAMMPS *>(lmp)->version, "pair", "pace", "ACE for tests", "distill", nullptr, handle};
  plugin.creator = [](void *lammps) -> void * { return static_cast<Pair *>(new PairPace(static_cast<LAMMPS *>(lammps))); };
  reinterpret_cast<void (*)(lammpsplugin_t *, void *)>(registered)(&plugin, lmp);
}
}
