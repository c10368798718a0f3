// Messages of PaiNN between neighbours (figure 2b of its paper), and their gradients, for a block of atoms.
//
// What atoms send are rows [6][C], packed: three factors and the vector. In the first layer the factors follow from the
// element alone, and there are no vectors: rows are of elements. Going back, an atom gathers from its neighbours the gradients
// by what it sent them. So every atom writes nothing but its own rows.

#ifndef DISTILL_PAINN_MESSAGES_H
#define DISTILL_PAINN_MESSAGES_H

#include "distill_radial.h"

namespace distill {

template <typename Real, typename Count> class PaiNNMessages {
 public:
  typedef typename Vectors<Real>::type Vector;
  static constexpr int W = Vectors<Real>::width;

  PaiNNMessages(Count channels, const Neighbourhood &neighbourhood, const Links<Real> &of_edges) :
      C(channels), near(neighbourhood), links(of_edges)
  {
  }

  // Add what neighbours send to scalars [C] and vectors [3][C] of atoms.
  template <bool FIRST>
  void receive(int first, int atoms, const Spline<Real> &filter, const Real *sent, Real *scalars, Real *vectors) const
  {
    for (int c = 0; c < C; c += W)
      for (int r = 0; r < atoms; r++) {
        Vector s = load<Real>(scalars + r * C + c), v[3];
        for (int k = 0; k < 3; k++) v[k] = load<Real>(vectors + (r * 3 + k) * C + c);
        for (size_t e = near.start[first + r]; e < near.start[first + r + 1]; e++) {
          const Link<Real> &link = links[e];
          const Real *x = row<FIRST>(sent, link.sender, c);
          Vector f[3];
          filter.template values<FIRST ? 2 : 3>(link, c, f);
          s += load<Real>(x) * f[0];
          const Vector b = load<Real>(x + W) * f[1];
          for (int k = 0; k < 3; k++) v[k] += b * link.direction[k];
          if (FIRST) continue;
          const Vector q = load<Real>(x + 2 * W) * f[2];
          for (int k = 0; k < 3; k++) v[k] += q * load<Real>(x + (3 + k) * W);
        }
        store<Real>(s, scalars + r * C + c);
        for (int k = 0; k < 3; k++) store<Real>(v[k], vectors + (r * 3 + k) * C + c);
      }
  }

  // From gradients by what atoms received, packed rows [4][C] of scalars and vectors, to those by what the atoms of a block
  // sent, rows [6][C], and for their edges to the gradients that belong to the messages which go the other way.
  template <bool FIRST>
  void gather(int first, int atoms, const Spline<Real> &filter, const Real *sent, const Real *by_received, Real *by_sent,
              double *gradients) const
  {
    const size_t begin = near.start[first], n = near.start[first + atoms] - begin;
    Vector by_vector[3 * n + 1];
    for (int c = 0; c < C; c += W)
      for (int r = 0; r < atoms; r++) {
        const Real *x = row<FIRST>(sent, first + r, c);
        Vector sums[6] = {};
        for (size_t e = near.start[first + r]; e < near.start[first + r + 1]; e++) {
          const Link<Real> &link = links[e];
          const Real *g = by_received + (size_t) link.sender * 4 * C + 4 * c;
          Vector f[3], slopes[3];
          filter.template values<FIRST ? 2 : 3>(link, c, f, slopes);
          const Vector gs = load<Real>(g), gv[3] = {load<Real>(g + W), load<Real>(g + 2 * W), load<Real>(g + 3 * W)};
          const Vector along = gv[0] * link.direction[0] + gv[1] * link.direction[1] + gv[2] * link.direction[2];
          const Vector x1 = load<Real>(x + W), sideways = x1 * f[1] * link.inverse_distance;
          Vector radial = gs * load<Real>(x) * slopes[0] + along * (sideways - x1 * slopes[1]);
          if (!FIRST) {
            const Vector x2 = load<Real>(x + 2 * W), q = f[2] * x2;
            const Vector dot = gv[0] * load<Real>(x + 3 * W) + gv[1] * load<Real>(x + 4 * W) + gv[2] * load<Real>(x + 5 * W);
            radial += dot * x2 * slopes[2];
            sums[0] += gs * f[0];
            sums[1] -= along * f[1];
            sums[2] += dot * f[2];
            for (int k = 0; k < 3; k++) sums[3 + k] += q * gv[k];
          }
          Vector *to = by_vector + 3 * (e - begin);
          for (int k = 0; k < 3; k++) {
            const Vector one = radial * link.direction[k] - sideways * gv[k];
            to[k] = c ? to[k] + one : one;
          }
        }
        if (FIRST) continue;
        for (int k = 0; k < 6; k++) store<Real>(sums[k], by_sent + (r * 6 + k) * C + c);
      }
    for (size_t k = 0; k < 3 * n; k++) gradients[3 * begin + k] += sum_of<Real>(by_vector[k]);
  }

 private:
  const Count C;
  const Neighbourhood &near;
  const Links<Real> &links;

  // Of the row that an atom sends, the part of the vector of channels c.
  template <bool FIRST> const Real *row(const Real *sent, int atom, int c) const
  {
    return sent + (size_t) (FIRST ? near.element[atom] : atom) * 6 * C + 6 * c;
  }
};

}    // namespace distill

#endif
