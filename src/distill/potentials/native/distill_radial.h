// Functions of a distance: computed once with their derivatives, and from then on read from a spline.

#ifndef DISTILL_RADIAL_H
#define DISTILL_RADIAL_H

#include "distill_linear.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace distill {

// A function of one variable with its first and second derivative.
struct Jet {
  double value, first, second;
  Jet(double v = 0, double d = 0, double dd = 0) : value(v), first(d), second(dd) {}
};
inline Jet operator+(Jet a, Jet b) { return {a.value + b.value, a.first + b.first, a.second + b.second}; }
inline Jet operator-(Jet a, Jet b) { return {a.value - b.value, a.first - b.first, a.second - b.second}; }
inline Jet operator*(Jet a, Jet b)
{
  return {a.value * b.value, a.first * b.value + a.value * b.first,
          a.second * b.value + 2 * a.first * b.first + a.value * b.second};
}
// f(a) from the value and the derivatives of f at a.
inline Jet compose(double f, double df, double ddf, Jet a)
{
  return {f, df * a.first, ddf * a.first * a.first + df * a.second};
}
inline Jet sin(Jet a) { return compose(std::sin(a.value), std::cos(a.value), -std::sin(a.value), a); }
inline Jet cos(Jet a) { return compose(std::cos(a.value), -std::sin(a.value), -std::cos(a.value), a); }
inline Jet exp(Jet a) { const double e = std::exp(a.value); return compose(e, e, e, a); }
inline Jet inverse(Jet a) { const double i = 1 / a.value; return compose(i, -i * i, 2 * i * i * i, a); }
inline Jet silu(Jet a)
{
  const double x = a.value, s = 1 / (1 + std::exp(-x)), r = 1 - s;
  return compose(x * s, s * (1 + x * r), s * r * (2 + x * (r - s)), a);
}

// Where a distance is among the knots, and what the two around it count for values and for derivatives.
template <typename Real> struct Place {
  int knot;
  Real values[6], slopes[6];    // of value, first and second derivative at the left knot and at the right one
};

// Equidistant knots on [0, cutoff], the same for all functions of a network.
class Knots {
 public:
  static constexpr double PER_ANGSTROM = 100;    // errors of PaiNN's filters are then below 1e-9 of their size

  explicit Knots(double cutoff) :
      intervals((int) std::ceil(cutoff * PER_ANGSTROM)), spacing(cutoff / intervals), per_distance(intervals / cutoff)
  {
  }

  const int intervals;
  const double spacing;

  // Quintic Hermite interpolation: twice differentiable, as what it stands for.
  template <typename Real> void find(double distance, Place<Real> &place) const
  {
    const double x = distance * per_distance;
    place.knot = std::max(0, std::min((int) x, intervals - 1));
    const double t = x - place.knot, t2 = t * t, t3 = t2 * t, u = 1 - t, u2 = u * u, s = per_distance;
    const double rise = t3 * (10 - 15 * t + 6 * t2), steepness = 30 * t2 * u2 * s;
    const double values[6] = {1 - rise, t * u2 * u * (1 + 3 * t), 0.5 * t2 * u2 * u, rise, -t3 * u * (4 - 3 * t), 0.5 * t3 * u2};
    const double slopes[6] = {-steepness, u2 * (1 + 2 * t - 15 * t2) * s, 0.5 * t * u2 * (2 - 5 * t) * s,
                              steepness, -t2 * (12 - 28 * t + 15 * t2) * s, 0.5 * t2 * u * (3 - 5 * t) * s};
    for (int k = 0; k < 6; k++) {
      place.values[k] = values[k];
      place.slopes[k] = slopes[k];
    }
  }

 private:
  const double per_distance;
};

// Many functions of a distance; their number is a multiple of the width of a vector.
template <typename Real> class Spline {
 public:
  typedef typename Vectors<Real>::type Vector;

  // `functions` writes the values at one distance, as many as `n_functions`.
  Spline(const Knots &knots, int n_functions, const std::function<void(Jet, Jet *)> &functions) :
      n(n_functions), table((size_t) (knots.intervals + 1) * 3 * n_functions)
  {
    std::vector<Jet> values(n);
    const double h = knots.spacing;
    for (int k = 0; k <= knots.intervals; k++) {
      functions(Jet(std::max(k * h, NEAREST), 1), values.data());
      Real *row = &table[(size_t) k * 3 * n];
      for (int c = 0; c < n; c++) {
        row[c] = values[c].value;
        row[n + c] = values[c].first * h;
        row[2 * n + c] = values[c].second * h * h;
      }
    }
  }

  // The functions from number c on; `stride` is the number of all, which the compiler may know.
  Vector values(const Place<Real> &place, int c, int stride) const { return sum(place, place.values, c, stride); }

  // Their derivatives (1/Å).
  Vector slopes(const Place<Real> &place, int c, int stride) const { return sum(place, place.slopes, c, stride); }

 private:
  static constexpr double NEAREST = 1e-3;    // Å; the functions are evaluated no nearer to zero

  int n;
  std::vector<Real> table;    // [knot][value, first, second derivative][n]

  Vector sum(const Place<Real> &place, const Real *factors, int c, int stride) const
  {
    const Real *p = &table[(size_t) place.knot * 3 * stride + c];
    Vector result = factors[0] * load<Real>(p);
    for (int k = 1; k < 6; k++) result += factors[k] * load<Real>(p + k * stride);
    return result;
  }
};

}    // namespace distill

#endif
