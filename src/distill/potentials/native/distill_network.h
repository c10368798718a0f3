// What a network is to LAMMPS: energies of atoms, and their derivatives by the vectors to their neighbours.

#ifndef DISTILL_NETWORK_H
#define DISTILL_NETWORK_H

#include <cstddef>
#include <vector>

namespace distill {

// A neighbour within the cutoff: the row of its features, and the unit vector and the distance to it.
struct Edge {
  int sender;
  double direction[3], distance;
};

struct Neighbourhood {
  int own = 0;                      // atoms of this rank: the first rows of features
  int rows = 0;                     // with ghosts
  const int *element = nullptr;     // of each row
  std::vector<size_t> start;        // [own + 1]: edges of atom i are start[i] to start[i + 1]
  std::vector<Edge> edges;
};

// How features of ghost atoms are kept up; nothing has to be done where rows are those of the atoms themselves.
class Exchange {
 public:
  // Copy rows of `width` numbers from atoms to their ghosts.
  virtual void to_ghosts(float *features, int width) = 0;
  virtual void to_ghosts(double *features, int width) = 0;
  // Add rows of ghosts to those of their atoms.
  virtual void from_ghosts(float *features, int width) = 0;
  virtual void from_ghosts(double *features, int width) = 0;

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
  // Write the energy of each own atom (eV) and the derivative of their sum by the vector of each edge (eV/Å, [3]).
  // Every rank calls it, also one without atoms.
  virtual void evaluate(const Neighbourhood &near, Exchange &exchange, double *energies, double *gradients) = 0;
};

}    // namespace distill

#endif
