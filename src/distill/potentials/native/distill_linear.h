// Linear maps and perceptrons over rows of numbers, a few rows at a time, so that a weight is read once for all of them.

#ifndef DISTILL_LINEAR_H
#define DISTILL_LINEAR_H

#include "distill_model_file.h"
#include "distill_network.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace distill {

template <typename Real> struct Vectors {
  typedef Real type __attribute__((vector_size(32), aligned(sizeof(Real)), may_alias));
  static constexpr int width = 32 / sizeof(Real);
};

template <typename Real> inline typename Vectors<Real>::type load(const Real *x)
{
  return *reinterpret_cast<const typename Vectors<Real>::type *>(x);
}

template <typename Real> inline void store(typename Vectors<Real>::type x, Real *to)
{
  *reinterpret_cast<typename Vectors<Real>::type *>(to) = x;
}

template <typename Real> inline Real sum_of(typename Vectors<Real>::type x)
{
  Real sum = 0;
  for (int k = 0; k < Vectors<Real>::width; k++) sum += x[k];
  return sum;
}

// y[r][o] = start[r][o] + sum_k x[r][k] w[k][o] for ROWS rows and COLUMNS vectors of outputs, kept in registers.
template <typename Real, int ROWS, int COLUMNS>
inline void multiply_tile(const Real *x, int n, const Real *w, int m, Real *y)
{
  typedef typename Vectors<Real>::type Vector;
  constexpr int width = Vectors<Real>::width;
  Vector sums[ROWS][COLUMNS];
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COLUMNS; c++) sums[r][c] = load<Real>(y + r * m + c * width);
  for (int k = 0; k < n; k++) {
    Vector weights[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) weights[c] = load<Real>(w + k * m + c * width);
    for (int r = 0; r < ROWS; r++)
      for (int c = 0; c < COLUMNS; c++) sums[r][c] += x[r * n + k] * weights[c];
  }
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COLUMNS; c++) store<Real>(sums[r][c], y + r * m + c * width);
}

// The same for all outputs of ROWS rows, and for those that fill no vector one by one.
template <typename Real, int ROWS> inline void multiply_rows(const Real *x, int n, const Real *w, int m, Real *y)
{
  constexpr int width = Vectors<Real>::width;
  int o = 0;
  for (; o + 2 * width <= m; o += 2 * width) multiply_tile<Real, ROWS, 2>(x, n, w + o, m, y + o);
  for (; o + width <= m; o += width) multiply_tile<Real, ROWS, 1>(x, n, w + o, m, y + o);
  for (; o < m; o++)
    for (int r = 0; r < ROWS; r++)
      for (int k = 0; k < n; k++) y[r * m + o] += x[r * n + k] * w[k * m + o];
}

// y += x w, with x of shape [rows][n], w [n][m], y [rows][m].
template <typename Real> void multiply_add(const Real *x, int rows, int n, const Real *w, int m, Real *y)
{
  for (; rows >= 4; rows -= 4, x += 4 * n, y += 4 * m) multiply_rows<Real, 4>(x, n, w, m, y);
  for (; rows > 0; rows--, x += n, y += m) multiply_rows<Real, 1>(x, n, w, m, y);
}

// A linear map; its weights are kept both ways round, for values and for gradients.
template <typename Real> struct Linear {
  int inputs = 0, outputs = 0;
  std::vector<Real> weights, transposed, bias;

  Linear() = default;

  // Weights are stored as torch does, [outputs][inputs]; the bias may be missing.
  Linear(const ModelFile &file, const std::string &name)
  {
    const auto &shape = file.shape(name + ".weight");
    outputs = shape[0];
    inputs = shape[1];
    transposed = file.values<Real>(name + ".weight");
    weights.resize(transposed.size());
    for (int o = 0; o < outputs; o++)
      for (int k = 0; k < inputs; k++) weights[k * outputs + o] = transposed[o * inputs + k];
    if (file.has(name + ".bias"))
      bias = file.values<Real>(name + ".bias");
    else
      bias.assign(outputs, 0);
  }

  void apply(const Real *x, int rows, Real *y) const
  {
    for (int r = 0; r < rows; r++) std::copy(bias.begin(), bias.end(), y + r * outputs);
    multiply_add(x, rows, inputs, weights.data(), outputs, y);
  }

  // The gradient by the inputs from that by the outputs.
  void back(const Real *gradient, int rows, Real *x) const
  {
    std::fill(x, x + rows * inputs, Real(0));
    multiply_add(gradient, rows, outputs, transposed.data(), inputs, x);
  }
};

// The logistic function; constant to double precision beyond 40.
template <typename Real> inline Real logistic(Real x)
{
  return Real(1) / (Real(1) + std::exp(-std::min(std::max(x, Real(-40)), Real(40))));
}

template <typename Real> inline void silu(const Real *__restrict x, int n, Real *__restrict y)
{
  for (int k = 0; k < n; k++) y[k] = x[k] * logistic(x[k]);
}

// The gradient by the input of silu, in place of that by its output.
template <typename Real> inline void silu_back(const Real *__restrict x, int n, Real *__restrict gradient)
{
  for (int k = 0; k < n; k++) {
    const Real s = logistic(x[k]);
    gradient[k] *= s * (Real(1) + x[k] * (Real(1) - s));
  }
}

// Two linear maps with silu between them, for a block of atoms.
template <typename Real> struct Perceptron {
  Linear<Real> first, second;

  Perceptron() = default;
  Perceptron(const ModelFile &file, const std::string &name) : first(file, name + ".first"), second(file, name + ".second")
  {
  }

  // `before` receives the hidden values before silu, which back() needs.
  void apply(const Real *x, int rows, Real *before, Real *y) const
  {
    Real hidden[BLOCK * first.outputs];
    first.apply(x, rows, before);
    silu(before, rows * first.outputs, hidden);
    second.apply(hidden, rows, y);
  }

  void back(const Real *before, const Real *gradient, int rows, Real *x) const
  {
    Real hidden[BLOCK * first.outputs];
    second.back(gradient, rows, hidden);
    silu_back(before, rows * first.outputs, hidden);
    first.back(hidden, rows, x);
  }
};

}    // namespace distill

#endif
