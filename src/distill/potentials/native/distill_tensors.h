// Tensors of TensorNet: 3 x 3 matrices of each channel as nine components, and what is done with those of one atom.
//
// One component is of the identity, three of the antisymmetric part, five of the symmetric traceless one; a row is [9][C].

#ifndef DISTILL_TENSORS_H
#define DISTILL_TENSORS_H

#include "distill_linear.h"

#include <cmath>
#include <string>
#include <vector>

namespace distill {

// The part that each component is in, and what its square counts for in the norm of the tensor.
constexpr int PART[9] = {0, 1, 1, 1, 2, 2, 2, 2, 2};
constexpr int NORM[9] = {3, 2, 2, 2, 1, 1, 1, 1, 1};
constexpr int FIRST[4] = {0, 1, 4, 9};    // components of each part begin here

// A linear map between channels for each of the three parts.
template <typename Real> struct PartwiseLinear {
  Linear<Real> maps[3];

  PartwiseLinear(const ModelFile &file, const std::string &name) :
      maps{Linear<Real>(file, name + ".0"), Linear<Real>(file, name + ".1"), Linear<Real>(file, name + ".2")}
  {
  }

  // x and y are rows of atoms.
  void apply(const Real *x, int atoms, Real *y) const { map(x, atoms, y, &Linear<Real>::apply); }

  // Gradients by the result to those by the argument.
  void back(const Real *x, int atoms, Real *y) const { map(x, atoms, y, &Linear<Real>::back); }

 private:
  void map(const Real *x, int atoms, Real *y, void (Linear<Real>::*way)(const Real *, int, Real *) const) const
  {
    const int C = maps[0].inputs;
    Real gathered[BLOCK * 5 * C], mapped[BLOCK * 5 * C];
    for (int part = 0; part < 3; part++) {
      const int first = FIRST[part], n = (FIRST[part + 1] - first) * C;
      for (int i = 0; i < atoms; i++) std::copy_n(x + (i * 9 + first) * C, n, gathered + i * n);
      (maps[part].*way)(gathered, atoms * n / C, mapped);
      for (int i = 0; i < atoms; i++) std::copy_n(mapped + i * n, n, y + (i * 9 + first) * C);
    }
  }
};

// Normalisation of a row to mean 0 and variance 1, with learnt weights; channels that fill up a vector do not count.
template <typename Real> struct LayerNorm {
  std::vector<Real> weight, bias, counts;
  int n_counted;

  LayerNorm(const ModelFile &file, const std::string &name, int channels) :
      weight(file.values<Real>(name + ".weight")), bias(file.values<Real>(name + ".bias")), counts(weight.size()),
      n_counted(weight.size() / channels * file.integer("counted_channels"))
  {
    for (size_t c = 0; c < counts.size(); c++) counts[c] = (int) c % channels < file.integer("counted_channels");
  }

  // Writes the normalised row before weights as well, and returns the reciprocal of the standard deviation.
  Real apply(const Real *x, Real *normal, Real *y) const
  {
    const int n = weight.size();
    Real mean = 0, variance = 0;
    for (int c = 0; c < n; c++) mean += x[c];
    mean /= n_counted;
    for (int c = 0; c < n; c++) {
      normal[c] = counts[c] * (x[c] - mean);
      variance += normal[c] * normal[c];
    }
    const Real scale = 1 / std::sqrt(variance / n_counted + Real(1e-5));
    for (int c = 0; c < n; c++) {
      normal[c] *= scale;
      y[c] = normal[c] * weight[c] + bias[c];
    }
    return scale;
  }

  void back(const Real *normal, Real scale, const Real *gradient, Real *x) const
  {
    const int n = weight.size();
    Real mean = 0, along = 0;
    for (int c = 0; c < n; c++) {
      x[c] = gradient[c] * weight[c];
      mean += x[c];
      along += x[c] * normal[c];
    }
    for (int c = 0; c < n; c++) x[c] = counts[c] * scale * (x[c] - mean / n_counted - normal[c] * along / n_counted);
  }
};

// What is done with the tensors of one atom, channel by channel.
template <typename Real, typename Count> class Tensors {
 public:
  explicit Tensors(Count channels) : C(channels) {}

  // Squared norms of the three parts, [3][C].
  void squared_norms(const Real *__restrict x, Real *__restrict norms) const
  {
    std::fill_n(norms, 3 * C, Real(0));
    for (int k = 0; k < 9; k++)
      for (int c = 0; c < C; c++) norms[PART[k] * C + c] += NORM[k] * x[k * C + c] * x[k * C + c];
  }

  // x / (|x|^2 + 1).
  void normalise(const Real *__restrict x, Real *__restrict y) const
  {
    for (int c = 0; c < C; c++) {
      Real square = 1;
      for (int k = 0; k < 9; k++) square += NORM[k] * x[k * C + c] * x[k * C + c];
      for (int k = 0; k < 9; k++) y[k * C + c] = x[k * C + c] / square;
    }
  }

  // The gradient by x of normalise(), in place of that by its result.
  void normalise_back(const Real *__restrict x, Real *__restrict gradient) const
  {
    for (int c = 0; c < C; c++) {
      Real square = 1, along = 0;
      for (int k = 0; k < 9; k++) {
        square += NORM[k] * x[k * C + c] * x[k * C + c];
        along += gradient[k * C + c] * x[k * C + c];
      }
      for (int k = 0; k < 9; k++)
        gradient[k * C + c] = (gradient[k * C + c] - 2 * NORM[k] * x[k * C + c] * along / square) / square;
    }
  }

  // z = X Y + Y X.
  void multiply(const Real *x, const Real *y, Real *z) const
  {
    for (int c = 0; c < C; c += W) {
      Vector X[9], Y[9], M[9];
      to_matrix(x + c, X);
      to_matrix(y + c, Y);
      for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
          M[3 * a + b] = X[3 * a] * Y[b] + Y[3 * a] * X[b];
          for (int m = 1; m < 3; m++) M[3 * a + b] += X[3 * a + m] * Y[3 * m + b] + Y[3 * a + m] * X[3 * m + b];
        }
      Vector one[9] = {(M[0] + M[4] + M[8]) * THIRD, (M[7] - M[5]) / 2, (M[2] - M[6]) / 2, (M[3] - M[1]) / 2,
                       (M[1] + M[3]) * ROOT, (M[5] + M[7]) * ROOT, (M[2] + M[6]) * ROOT,
                       (M[0] - M[4]) * ROOT, (2 * M[8] - M[0] - M[4]) * FROM};
      for (int k = 0; k < 9; k++) store<Real>(one[k], z + k * C + c);
    }
  }

  // The gradient by X of X Y + Y X, from that by the result; added to what is there.
  void multiply_back(const Real *gradient, const Real *y, Real *x) const
  {
    for (int c = 0; c < C; c += W) {
      Vector g[9], Y[9], M[9];
      for (int k = 0; k < 9; k++) g[k] = load<Real>(gradient + k * C + c);
      to_matrix(y + c, Y);
      const Vector trace = g[0] * THIRD, even = g[8] * FROM, odd = g[7] * ROOT;
      const Vector xy = g[4] * ROOT, yz = g[5] * ROOT, xz = g[6] * ROOT;
      const Vector G[9] = {trace + odd - even, xy - g[3] / 2, xz + g[2] / 2, xy + g[3] / 2, trace - odd - even,
                           yz - g[1] / 2, xz - g[2] / 2, yz + g[1] / 2, trace + 2 * even};
      for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
          M[3 * a + b] = G[3 * a] * Y[3 * b] + Y[a] * G[b];
          for (int m = 1; m < 3; m++) M[3 * a + b] += G[3 * a + m] * Y[3 * b + m] + Y[3 * m + a] * G[3 * m + b];
        }
      const Vector one[9] = {M[0] + M[4] + M[8], M[7] - M[5], M[2] - M[6], M[3] - M[1],
                             (M[1] + M[3]) * ROOT, (M[5] + M[7]) * ROOT, (M[2] + M[6]) * ROOT,
                             (M[0] - M[4]) * ROOT, (2 * M[8] - M[0] - M[4]) * TO};
      for (int k = 0; k < 9; k++) store<Real>(load<Real>(x + k * C + c) + one[k], x + k * C + c);
    }
  }

 private:
  typedef typename Vectors<Real>::type Vector;
  static constexpr int W = Vectors<Real>::width;
  // Of the change from components to matrices and back, rounded as the networks are trained with them: 1/3, and the roots
  // of 1/2 and, twice, of 1/6.
  static constexpr Real THIRD = 1 / 3.0f, ROOT = 0.70710678118654752f, TO = 0.40824827551841736f, FROM = 0.40824830532073975f;

  const Count C;

  // Components to the elements of a matrix, row by row.
  void to_matrix(const Real *row, Vector *matrix) const
  {
    Vector x[9];
    for (int k = 0; k < 9; k++) x[k] = load<Real>(row + k * C);
    const Vector xy = x[4] * ROOT, yz = x[5] * ROOT, xz = x[6] * ROOT, odd = x[7] * ROOT, even = x[8] * TO;
    const Vector elements[9] = {x[0] + odd - even, xy - x[3], xz + x[2], xy + x[3], x[0] - odd - even,
                                yz - x[1], xz - x[2], yz + x[1], x[0] + 2 * even};
    for (int k = 0; k < 9; k++) matrix[k] = elements[k];
  }
};

}    // namespace distill

#endif
