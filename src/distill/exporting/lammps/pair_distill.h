// LAMMPS pair style "distill": students of distill, without torch. The folder drops into src/ or is built as a plugin.

#ifdef PAIR_CLASS
// clang-format off
PairStyle(distill,PairDistill);
// clang-format on
#else

#ifndef LMP_PAIR_DISTILL_H
#define LMP_PAIR_DISTILL_H

#include "pair.h"

#include "distill_student.h"

#include <memory>
#include <string>
#include <vector>

namespace LAMMPS_NS {

class PairDistill : public Pair, private distill::Exchange {
 public:
  explicit PairDistill(class LAMMPS *);
  ~PairDistill() override;
  void compute(int, int) override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  double memory_usage() override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;

 private:
  std::unique_ptr<distill::Student> student;
  distill::Neighbourhood near;
  std::vector<int> element_of_type, element_of_row;
  std::vector<int> atom_of_edge;    // index of the neighbour, a ghost where it is one
  std::vector<double> energies, gradients;

  // Rows that are exchanged at present.
  char *exchanged = nullptr;
  int exchanged_numbers = 0, exchanged_size = 0;
  std::vector<int> owner;    // row of each atom; of ghosts that of the atom itself on a single rank

  std::string read(const char *);
  void allocate();
  void find_owners();
  void find_edges();
  void tally_atoms(int);
  void tally_edges();
  void exchange_rows(void *, int, int);
  size_t doubles_of_row() const { return ((size_t) exchanged_numbers * exchanged_size + 7) / 8; }
  void to_ghosts(float *, int) override;
  void to_ghosts(double *, int) override;
};

}    // namespace LAMMPS_NS

#endif
#endif
