// A student as its file describes it: a network, and the repulsion of nuclei.

#ifndef DISTILL_STUDENT_H
#define DISTILL_STUDENT_H

#include "distill_painn.h"
#include "distill_tensornet.h"
#include "distill_zbl.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace distill {

// Whether a number is one; by its bits, since compilers may assume that all are.
inline bool is_finite(double x)
{
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return (bits >> 52 & 0x7FF) != 0x7FF;
}

class Student {
 public:
  // Raises ModelError where the content is not what was written.
  explicit Student(const std::string &content) : Student(ModelFile(content)) {}

  const double cutoff;
  const std::vector<std::string> elements;    // symbols, in the order in which the network knows them

  size_t exchanged_bytes() const { return network->exchanged_bytes(); }
  double memory_usage() const { return network->memory_usage(); }

  // As Network::evaluate(); each atom of a pair has half of its repulsion, and each of the pair's edges half of the force.
  void evaluate(const Neighbourhood &near, Exchange &exchange, double *energies, double *gradients)
  {
    network->evaluate(near, exchange, energies, gradients);
    for_blocks(near, [&](int first, int atoms) {
      for (int i = first; i < first + atoms; i++)
        for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
          const Edge &edge = near.edges[e];
          double slope;
          const double energy = repulsion.pair(near.element[i], near.element[edge.sender], edge.distance, slope);
          if (energy == 0) continue;
          energies[i] += energy / 2;
          for (int k = 0; k < 3; k++) gradients[3 * e + k] += slope / 2 * edge.direction[k];
        }
    });
  }

 private:
  const ZBL repulsion;
  const std::unique_ptr<Network> network;

  explicit Student(const ModelFile &file) :
      cutoff(file.number("cutoff")), elements(file.words("elements")), repulsion(file.has("zbl_range") ? ZBL(file) : ZBL()),
      network(file.word("precision") == "single" ? make<float>(file) : make<double>(file))
  {
  }

  // The default number of channels is known when this is compiled.
  template <typename Real> static std::unique_ptr<Network> make(const ModelFile &file)
  {
    const std::string &architecture = file.word("architecture");
    const bool usual = file.integer("channels") == 32;
    if (architecture == "painn" && usual) return std::make_unique<PaiNN<Real, 32>>(file);
    if (architecture == "painn") return std::make_unique<PaiNN<Real>>(file);
    if (architecture == "tensornet" && usual) return std::make_unique<TensorNet<Real, 32>>(file);
    if (architecture == "tensornet") return std::make_unique<TensorNet<Real>>(file);
    throw ModelError("it is of the architecture " + architecture + ", which is not known here");
  }
};

}    // namespace distill

#endif
