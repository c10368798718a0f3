// What a network is to whoever moves the atoms: energies of atoms, and their derivatives by the vectors to neighbours.

#ifndef DISTILL_NETWORK_H
#define DISTILL_NETWORK_H

#include <algorithm>
#include <cstddef>
#include <vector>

namespace distill {

// Atoms whose networks are evaluated together, by one thread.
constexpr int BLOCK = 8;

// A neighbour within the cutoff: the row of its features, and the unit vector and the distance to it.
struct Edge {
  int sender;
  double direction[3], distance;
};

// Each pair of neighbours stands there twice, from each end.
struct Neighbourhood {
  int own = 0;                      // atoms of this rank: the first rows of features
  int rows = 0;                     // with ghosts
  int threads = 1;                  // that share the work; no bit of a result depends on their number
  const int *element = nullptr;     // of each row
  std::vector<size_t> start;        // [own + 1]: edges of atom i are start[i] to start[i + 1]
  std::vector<Edge> edges;
};

// Call a function with the first atom of each block and the number of its atoms.
template <typename Function> void for_blocks(const Neighbourhood &near, Function function)
{
  const int own = near.own;
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic) num_threads(near.threads) if (near.threads > 1)
#endif
  for (int first = 0; first < own; first += BLOCK) function(first, std::min(BLOCK, own - first));
}

// How features of ghost atoms are kept up; nothing has to be done where rows are those of the atoms themselves.
class Exchange {
 public:
  // Copy rows of `width` numbers from atoms to their ghosts.
  virtual void to_ghosts(float *features, int width) = 0;
  virtual void to_ghosts(double *features, int width) = 0;

 protected:
  ~Exchange() = default;
};

// The number of channels: what the compiler was told, or where that is 0 what is known at run time.
template <int N> struct Channels {
  explicit Channels(int) {}
  constexpr operator int() const { return N; }
};

template <> struct Channels<0> {
  explicit Channels(int number) : n(number) {}
  operator int() const { return n; }

 private:
  const int n;
};

class Network {
 public:
  virtual ~Network() = default;
  // Widest row that is exchanged, in bytes.
  virtual size_t exchanged_bytes() const = 0;
  // Bytes of features that are kept from the forward to the backward pass.
  virtual double memory_usage() const = 0;
  // Write the energy of each own atom (eV) and for each edge a gradient (eV/Å, [3]): the sum of those of a pair's two
  // edges, one of them turned round, is the derivative of the energy of all ranks by the vector of the pair.
  // Every rank calls it, also one without atoms.
  virtual void evaluate(const Neighbourhood &near, Exchange &exchange, double *energies, double *gradients) = 0;
};

}    // namespace distill

#endif
