// Functions of a distance: computed once at knots, and from then on read from a spline.

#ifndef DISTILL_RADIAL_H
#define DISTILL_RADIAL_H

#include "distill_linear.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace distill {

// An edge as the networks read it: where its distance is among the knots, what the six knots around it count for values
// and for derivatives (1/Å), and its geometry.
template <typename Real> struct Link {
  int sender, knot;
  Real values[6], slopes[6], direction[3], inverse_distance;
};

// Equidistant knots, the same for all functions of a network.
class Knots {
 public:
  // Errors of PaiNN's filters are then below 1e-9 of their size in double precision, and below rounding in single.
  Knots(double cutoff, size_t size_of_real) :
      intervals((int) std::ceil(cutoff * (size_of_real == sizeof(double) ? 100 : 50))), spacing(cutoff / intervals),
      per_distance(intervals / cutoff)
  {
  }

  const int intervals;
  const double spacing;

  // The weights of B-splines of degree five, which are four times differentiable.
  template <typename Real> void find(const Edge &edge, Link<Real> &link) const
  {
    const double x = edge.distance * per_distance;
    link.knot = std::max(0, std::min((int) x, intervals - 1));
    const double t = x - link.knot, s = per_distance / 24;
    const double base[6] = {1 - t, 2 - t, 3 - t, t, 1 + t, 2 + t};
    double fourth[6], fifth[6];
    for (int k = 0; k < 6; k++) {
      fourth[k] = base[k] * base[k] * base[k] * base[k];
      fifth[k] = fourth[k] * base[k] / 120;
      fourth[k] *= s;
    }
    const double values[6] = {fifth[0], fifth[1] - 6 * fifth[0], fifth[2] - 6 * fifth[1] + 15 * fifth[0],
                              fifth[5] - 6 * fifth[4] + 15 * fifth[3], fifth[4] - 6 * fifth[3], fifth[3]};
    const double slopes[6] = {-fourth[0], 6 * fourth[0] - fourth[1], 6 * fourth[1] - fourth[2] - 15 * fourth[0],
                              fourth[5] - 6 * fourth[4] + 15 * fourth[3], fourth[4] - 6 * fourth[3], fourth[3]};
    for (int k = 0; k < 6; k++) {
      link.values[k] = values[k];
      link.slopes[k] = slopes[k];
    }
    for (int k = 0; k < 3; k++) link.direction[k] = edge.direction[k];
    link.inverse_distance = 1 / edge.distance;
    link.sender = edge.sender;
  }

 private:
  const double per_distance;
};

// All edges of a neighbourhood.
template <typename Real> struct Links : std::vector<Link<Real>> {
  void find(const Knots &knots, const Neighbourhood &near)
  {
    this->resize(near.edges.size());
    for_blocks(near, [&](int first, int atoms) {
      for (size_t e = near.start[first]; e < near.start[first + atoms]; e++) knots.find(near.edges[e], (*this)[e]);
    });
  }
};

// Three functions of a distance for each channel, interpolated.
//
// What is read together is together in memory: of a vector of channels the coefficients of all three at one knot, then those
// at the next. So what a vector of channels needs of all distances stays in the first cache.
template <typename Real> class Spline {
 public:
  typedef typename Vectors<Real>::type Vector;
  static constexpr int W = Vectors<Real>::width;

  // `functions` writes the values at one distance, [3][channels]; also at some distances out of range.
  Spline(const Knots &knots, int channels, const std::function<void(double, double *)> &functions) :
      rows(knots.intervals + 6), table((size_t) rows * 3 * channels)
  {
    const int n = 3 * channels, all = knots.intervals + 2 * MARGIN;
    std::vector<double> values((size_t) all * n);
    for (int k = 0; k < all; k++) {
      const double d = (k - MARGIN) * knots.spacing;
      functions(std::abs(d) < NEAREST ? NEAREST : d, &values[(size_t) k * n]);
    }
    to_coefficients(values, all, n);
    for (int c = 0; c < channels; c++)
      for (int k = 0; k < rows; k++)
        for (int part = 0; part < 3; part++)
          table[place(c) + (k * 3 + part) * W + c % W] = values[(size_t) (k + MARGIN - 2) * n + part * channels + c];
  }

  // The first PARTS of the three functions for a vector of channels from number c on.
  template <int PARTS> void values(const Link<Real> &link, int c, Vector *f) const
  {
    const Real *p = &table[place(c) + link.knot * 3 * W];
    for (int part = 0; part < PARTS; part++) f[part] = link.values[0] * load<Real>(p + part * W);
    for (int k = 1; k < 6; k++)
      for (int part = 0; part < PARTS; part++) f[part] += link.values[k] * load<Real>(p + (k * 3 + part) * W);
  }

  // The same with their derivatives (1/Å).
  template <int PARTS> void values(const Link<Real> &link, int c, Vector *f, Vector *slopes) const
  {
    const Real *p = &table[place(c) + link.knot * 3 * W];
    for (int part = 0; part < PARTS; part++) {
      const Vector row = load<Real>(p + part * W);
      f[part] = link.values[0] * row;
      slopes[part] = link.slopes[0] * row;
    }
    for (int k = 1; k < 6; k++)
      for (int part = 0; part < PARTS; part++) {
        const Vector row = load<Real>(p + (k * 3 + part) * W);
        f[part] += link.values[k] * row;
        slopes[part] += link.slopes[k] * row;
      }
  }

 private:
  static constexpr double NEAREST = 1e-3;    // Å; the functions are not evaluated nearer to zero
  static constexpr int MARGIN = 40;          // knots on both sides; what is wrong at the ends fades by 0.43 a knot

  int rows;
  std::vector<Real> table;    // coefficients [vectors of channels][knots, from two before zero on][3][W]

  size_t place(int c) const { return (size_t) (c / W) * rows * 3 * W; }

  // Values to coefficients of B-splines of degree five by two recursions forth and back (Unser, Aldroubi, Eden, IEEE
  // Trans. Signal Process. 41, 821, 1993).
  static void to_coefficients(std::vector<double> &rows, int n_rows, int n)
  {
    for (const double pole : {-0.430575347099973791, -0.0430962882032646534}) {
      for (double &value : rows) value *= (1 - pole) * (1 - 1 / pole);
      for (int k = n; k < n_rows * n; k++) rows[k] += pole * rows[k - n];
      for (int c = 0; c < n; c++) rows[(n_rows - 1) * n + c] *= pole / (pole * pole - 1);
      for (int k = (n_rows - 1) * n - 1; k >= 0; k--) rows[k] = pole * (rows[k + n] - rows[k]);
    }
  }
};

// Rows of atoms that neighbours read, [PARTS][C], are kept with the parts of a vector of channels together:
// [C / W][PARTS][W].
template <int PARTS, typename Real> inline void pack(const Real *row, int C, Real *to)
{
  constexpr int W = Vectors<Real>::width;
  for (int c = 0; c < C; c += W)
    for (int part = 0; part < PARTS; part++) store<Real>(load<Real>(row + part * C + c), to + c * PARTS + part * W);
}

template <int PARTS, typename Real> inline void unpack(const Real *packed, int C, Real *to)
{
  constexpr int W = Vectors<Real>::width;
  for (int c = 0; c < C; c += W)
    for (int part = 0; part < PARTS; part++) store<Real>(load<Real>(packed + c * PARTS + part * W), to + part * C + c);
}

}    // namespace distill

#endif
