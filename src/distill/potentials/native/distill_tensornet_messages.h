// Messages of TensorNet between neighbours, and their gradients, for a block of atoms.
//
// Tensors are rows [9][C]; those that neighbours read are packed. Going back, an atom gathers from its neighbours the
// gradients by what it sent them. So every atom writes nothing but its own rows.

#ifndef DISTILL_TENSORNET_MESSAGES_H
#define DISTILL_TENSORNET_MESSAGES_H

#include "distill_radial.h"
#include "distill_tensors.h"

namespace distill {

// What messages of the embedding say of the two elements: one of these for each of them, [elements][C].
template <typename Real> struct Species {
  std::vector<Real> own, other;
};

template <typename Real, typename Count> class TensorNetMessages {
 public:
  typedef typename Vectors<Real>::type Vector;
  static constexpr int W = Vectors<Real>::width;

  TensorNetMessages(Count channels, const Neighbourhood &neighbourhood, const Links<Real> &of_edges) :
      C(channels), near(neighbourhood), links(of_edges)
  {
  }

  // The tensors that atoms have of the elements and places of their neighbours: of the identity, of the cross product with
  // the unit vector u to a neighbour, and of u u^T - 1/3.
  void embed(int first, int atoms, const Spline<Real> &filter, const Species<Real> &species, Real *to) const
  {
    for (int c = 0; c < C; c += W)
      for (int r = 0; r < atoms; r++) {
        Vector sums[9] = {};
        for (size_t e = near.start[first + r]; e < near.start[first + r + 1]; e++) {
          const Link<Real> &link = links[e];
          const Real x = link.direction[0], y = link.direction[1], z = link.direction[2];
          Vector f[3];
          filter.template values<3>(link, c, f);
          const Vector pair = of_elements(species, first + r, link.sender, c);
          sums[0] += pair * f[0];
          const Vector vector = pair * f[1], tensor = pair * f[2];
          for (int k = 0; k < 3; k++) sums[1 + k] += vector * link.direction[k];
          const Real shape[5] = {ROOT * x * y, ROOT * y * z, ROOT * x * z, ROOT * (x * x - y * y) / 2, (2 * z * z - x * x - y * y) / SIX};
          for (int k = 0; k < 5; k++) sums[4 + k] += tensor * shape[k];
        }
        for (int k = 0; k < 9; k++) store<Real>(sums[k], to + (r * 9 + k) * C + c);
      }
  }

  // From gradients by those tensors to the ones by the vectors of the edges.
  void embed_back(int first, int atoms, const Spline<Real> &filter, const Species<Real> &species, const Real *by_embedded, double *gradients) const
  {
    const size_t begin = near.start[first], n = near.start[first + atoms] - begin;
    Vector by_vector[3 * n + 1];
    for (int c = 0; c < C; c += W)
      for (int r = 0; r < atoms; r++) {
        Vector g[9];
        for (int k = 0; k < 9; k++) g[k] = load<Real>(by_embedded + (r * 9 + k) * C + c);
        for (size_t e = near.start[first + r]; e < near.start[first + r + 1]; e++) {
          const Link<Real> &link = links[e];
          const Real x = link.direction[0], y = link.direction[1], z = link.direction[2];
          Vector f[3], slopes[3];
          filter.template values<3>(link, c, f, slopes);
          const Vector pair = of_elements(species, first + r, link.sender, c);
          // By the direction, of the vector and of the tensor, which is quadratic in it; and along it.
          const Vector tensor[3] = {ROOT * (y * g[4] + z * g[6] + x * g[7]) - 2 * x / SIX * g[8],
                                    ROOT * (x * g[4] + z * g[5] - y * g[7]) - 2 * y / SIX * g[8],
                                    ROOT * (y * g[5] + x * g[6]) + 4 * z / SIX * g[8]};
          const Vector along1 = x * g[1] + y * g[2] + z * g[3], along2 = x * tensor[0] + y * tensor[1] + z * tensor[2];
          const Vector f1 = pair * f[1] * link.inverse_distance, f2 = pair * f[2] * link.inverse_distance;
          const Vector radial =
              pair * (slopes[0] * g[0] + slopes[1] * along1 + slopes[2] * along2 / 2) - f1 * along1 - f2 * along2;
          Vector *to = by_vector + 3 * (e - begin);
          for (int k = 0; k < 3; k++) {
            const Vector one = radial * link.direction[k] + f1 * g[1 + k] + f2 * tensor[k];
            to[k] = c ? to[k] + one : one;
          }
        }
      }
    for (size_t k = 0; k < 3 * n; k++) gradients[3 * begin + k] += sum_of<Real>(by_vector[k]);
  }

  // What neighbours send to atoms, packed rows.
  void receive(int first, int atoms, const Spline<Real> &filter, const Real *sent, Real *to) const
  {
    for (int c = 0; c < C; c += W)
      for (int r = 0; r < atoms; r++) {
        Vector sums[9] = {};
        for (size_t e = near.start[first + r]; e < near.start[first + r + 1]; e++) {
          const Real *x = sent + (size_t) links[e].sender * 9 * C + 9 * c;
          Vector f[3];
          filter.template values<3>(links[e], c, f);
          for (int k = 0; k < 9; k++) sums[k] += f[PART[k]] * load<Real>(x + k * W);
        }
        for (int k = 0; k < 9; k++) store<Real>(sums[k], to + (r * 9 + k) * C + c);
      }
  }

  // From gradients by what atoms received, packed rows, to those by what the atoms of a block sent, rows, and for their edges
  // to the gradients that belong to the messages which go the other way.
  void gather(int first, int atoms, const Spline<Real> &filter, const Real *sent, const Real *by_received, Real *by_sent, double *gradients) const
  {
    const size_t begin = near.start[first], n = near.start[first + atoms] - begin;
    Vector by_distance[n + 1];
    for (int c = 0; c < C; c += W)
      for (int r = 0; r < atoms; r++) {
        const Real *x = sent + (size_t) (first + r) * 9 * C + 9 * c;
        Vector sums[9] = {};
        for (size_t e = near.start[first + r]; e < near.start[first + r + 1]; e++) {
          const Real *g = by_received + (size_t) links[e].sender * 9 * C + 9 * c;
          Vector f[3], slopes[3], dots[3] = {};
          filter.template values<3>(links[e], c, f, slopes);
          for (int k = 0; k < 9; k++) {
            const Vector one = load<Real>(g + k * W);
            sums[k] += f[PART[k]] * one;
            dots[PART[k]] += one * load<Real>(x + k * W);
          }
          const Vector total = dots[0] * slopes[0] + dots[1] * slopes[1] + dots[2] * slopes[2];
          by_distance[e - begin] = c ? by_distance[e - begin] + total : total;
        }
        for (int k = 0; k < 9; k++) store<Real>(sums[k], by_sent + (r * 9 + k) * C + c);
      }
    for (size_t e = 0; e < n; e++) {
      const double slope = sum_of<Real>(by_distance[e]);
      for (int k = 0; k < 3; k++) gradients[3 * (begin + e) + k] += slope * links[begin + e].direction[k];
    }
  }

 private:
  static constexpr Real ROOT = 1.41421356237309505, SIX = 2.44948974278317810;    // roots of 2 and of 6

  const Count C;
  const Neighbourhood &near;
  const Links<Real> &links;

  Vector of_elements(const Species<Real> &species, int i, int j, int c) const
  {
    return load<Real>(&species.own[near.element[i] * C + c]) + load<Real>(&species.other[near.element[j] * C + c]);
  }
};

}    // namespace distill

#endif
