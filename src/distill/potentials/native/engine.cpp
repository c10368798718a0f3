// Students on one machine, for whoever loads this library: a C interface to the networks.
//
// A caller opens a student, tells it the atoms and all pairs of them that may come within the cutoff for a while, and then
// asks for energies and forces at positions, until it lists pairs anew.

#include "distill_student.h"

namespace {

using namespace distill;

// All atoms are here, and each row is that of an atom itself.
struct NoGhosts : Exchange {
  void to_ghosts(float *, int) override {}
  void to_ghosts(double *, int) override {}
};

// A neighbour that may come within the cutoff: the atom, and the lattice translation of it (Å).
struct Candidate {
  int atom;
  double translation[3];
};

class Engine {
 public:
  explicit Engine(const std::string &content) : student(content) {}

  // Pairs are given once each.
  void list(int n_atoms, const int *element_of_atom, size_t n_pairs, const int64_t *first, const int64_t *second, const double *translations)
  {
    elements.assign(element_of_atom, element_of_atom + n_atoms);
    begin.assign(n_atoms + 1, 0);
    for (size_t p = 0; p < n_pairs; p++) begin[first[p] + 1]++, begin[second[p] + 1]++;
    for (int i = 0; i < n_atoms; i++) begin[i + 1] += begin[i];
    candidates.resize(2 * n_pairs);
    std::vector<size_t> next(begin.begin(), begin.end() - 1);
    for (size_t p = 0; p < n_pairs; p++) {
      const double *t = translations + 3 * p;
      candidates[next[first[p]]++] = {(int) second[p], {t[0], t[1], t[2]}};
      candidates[next[second[p]]++] = {(int) first[p], {-t[0], -t[1], -t[2]}};
    }
    near.own = near.rows = n_atoms;
    near.element = elements.data();
  }

  // Energies of atoms (eV), forces [3] (eV/Å), and the derivative of the energy by a strain, [3][3] (eV).
  void evaluate(int threads, const double *positions, double *of_atoms, double *forces, double *strain)
  {
    near.threads = threads;
    find_edges(positions);
    gradients.resize(3 * near.edges.size());
    student.evaluate(near, none, of_atoms, gradients.data());
    std::fill_n(forces, 3 * near.own, 0.0);
    std::fill_n(strain, 9, 0.0);
    for (int i = 0; i < near.own; i++)
      for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
        const Edge &edge = near.edges[e];
        const double *g = &gradients[3 * e];
        for (int a = 0; a < 3; a++) {
          forces[3 * i + a] += g[a];
          forces[3 * edge.sender + a] -= g[a];
          for (int b = 0; b < 3; b++) strain[3 * a + b] += edge.distance * edge.direction[a] * g[b];
        }
      }
  }

 private:
  Student student;
  NoGhosts none;
  Neighbourhood near;
  std::vector<int> elements;
  std::vector<size_t> begin;    // candidates of atom i are begin[i] to begin[i + 1]
  std::vector<Candidate> candidates;
  std::vector<double> gradients;

  void find_edges(const double *positions)
  {
    near.start.assign(near.own + 1, 0);
    for_blocks(near, [&](int first, int atoms) {
      for (int i = first; i < first + atoms; i++) near.start[i + 1] = edges_of(i, positions, nullptr);
    });
    for (int i = 0; i < near.own; i++) near.start[i + 1] += near.start[i];
    near.edges.resize(near.start[near.own]);
    for_blocks(near, [&](int first, int atoms) {
      for (int i = first; i < first + atoms; i++) edges_of(i, positions, &near.edges[near.start[i]]);
    });
  }

  // The number of edges of an atom, which are written where that is wanted.
  size_t edges_of(int i, const double *positions, Edge *to) const
  {
    const double *own = positions + 3 * i, cutoff_squared = student.cutoff * student.cutoff;
    size_t n = 0;
    for (size_t k = begin[i]; k < begin[i + 1]; k++) {
      const double *other = positions + 3 * (size_t) candidates[k].atom, *t = candidates[k].translation;
      const double x = other[0] - own[0] + t[0], y = other[1] - own[1] + t[1], z = other[2] - own[2] + t[2];
      const double squared = x * x + y * y + z * z;
      if (squared >= cutoff_squared) continue;
      if (to) {
        const double d = std::sqrt(squared);
        to[n] = {candidates[k].atom, {x / d, y / d, z / d}, d};
      }
      n++;
    }
    return n;
  }
};

}    // namespace

extern "C" {

// A student from the content of its file; null where that is damaged, and then why.
void *distill_open(const char *content, size_t size, char *why, size_t room)
{
  try {
    return new Engine(std::string(content, size));
  } catch (const std::exception &problem) {
    snprintf(why, room, "%s", problem.what());
    return nullptr;
  }
}

void distill_close(void *engine) { delete static_cast<Engine *>(engine); }

// Elements are places in the list of those that the student knows; pairs [2][n], each once; translations [n][3] are added
// to the second atom of a pair.
void distill_list(void *engine, int n_atoms, const int *elements, size_t n_pairs, const int64_t *pairs, const double *translations)
{
  static_cast<Engine *>(engine)->list(n_atoms, elements, n_pairs, pairs, pairs + n_pairs, translations);
}

void distill_evaluate(void *engine, int threads, const double *positions, double *energies, double *forces, double *strain)
{
  static_cast<Engine *>(engine)->evaluate(threads, positions, energies, forces, strain);
}

// Whether several threads can share the work.
int distill_has_threads()
{
#ifdef _OPENMP
  return 1;
#else
  return 0;
#endif
}
}
