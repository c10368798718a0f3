// The repulsion of nuclei of Ziegler, Biersack and Littmark, switched off smoothly, as distill adds it to students.

#ifndef DISTILL_ZBL_H
#define DISTILL_ZBL_H

#include "distill_model_file.h"

#include <cmath>
#include <vector>

namespace distill {

class ZBL {
 public:
  ZBL() = default;

  explicit ZBL(const ModelFile &file) :
      elements(file.words("elements").size()), lengths(file.values<double>("zbl_lengths")),
      strengths(file.values<double>("zbl_strengths")), reaches(file.values<double>("zbl_reaches")),
      amplitudes(file.values<double>("zbl_amplitudes")), exponents(file.values<double>("zbl_exponents"))
  {
    const auto range = file.values<double>("zbl_range");
    inner = range[0];
    outer = range[1];
  }

  // The energy of a pair (eV), with its derivative by the distance (eV/Å); none without this repulsion.
  double pair(int i, int j, double distance, double &slope) const
  {
    slope = 0;
    if (!elements) return 0;
    const int k = i * elements + j;
    const double reduced = distance / reaches[k];
    if (reduced >= outer) return 0;
    double screening = 0, by_distance = 0;
    for (size_t n = 0; n < amplitudes.size(); n++) {
      const double term = amplitudes[n] * std::exp(-exponents[n] * distance / lengths[k]);
      screening += term;
      by_distance -= exponents[n] / lengths[k] * term;
    }
    const double coulomb = strengths[k] / distance, energy = coulomb * screening;
    const double t = std::max((reduced - inner) / (outer - inner), 0.0);
    const double on = 1 - t * t * t * (10 - 15 * t + 6 * t * t);
    const double off_slope = -30 * t * t * (1 - t) * (1 - t) / ((outer - inner) * reaches[k]);
    slope = (coulomb * by_distance - energy / distance) * on + energy * off_slope;
    return energy * on;
  }

 private:
  int elements = 0;
  std::vector<double> lengths, strengths, reaches, amplitudes, exponents;    // of pairs of elements [E][E]; four terms
  double inner = 0, outer = 0;
};

}    // namespace distill

#endif
