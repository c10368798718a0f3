// PaiNN (Schütt, Unke, Gastegger, arXiv:2102.03150) and its gradient, as distill trains it.
//
// Forward, each layer needs what the layer before left on the neighbours of an atom; backward, the gradients by what
// neighbours received. Before each of these the rows of ghost atoms are exchanged with other ranks. Features of an atom
// are scalars [C] and vectors [3][C].

#ifndef DISTILL_PAINN_H
#define DISTILL_PAINN_H

#include "distill_linear.h"
#include "distill_painn_messages.h"

#include <cmath>
#include <string>
#include <vector>

namespace distill {

template <typename Real, int CHANNELS = 0> class PaiNN : public Network {
 public:
  explicit PaiNN(const ModelFile &file) :
      C(file.integer("channels")), knots(file.number("cutoff"), sizeof(Real)), embedding(file.values<Real>("embedding")),
      scales(file.values<double>("scales")), offsets(file.values<double>("offsets")), read_out(file, "read_out")
  {
    for (int l = 0; l < file.integer("layers"); l++) layers.emplace_back(file, std::to_string(l), knots);
    if (C % 8) throw ModelError("its number of channels is no multiple of 8");
    const int elements = scales.size();
    first_sent.resize(elements * 6 * C);
    std::vector<Real> before(C), row(6 * C);
    for (int e = 0; e < elements; e++) {
      layers[0].phi.apply(&embedding[e * C], 1, before.data(), row.data());
      pack<6>(row.data(), C, &first_sent[e * 6 * C]);
    }
  }

  size_t exchanged_bytes() const override { return 6 * C * sizeof(Real); }

  double memory_usage() const override
  {
    double numbers = scalars.capacity() + by_received.capacity() + next_by_received.capacity();
    for (const Layer &layer : layers)
      for (const auto *array : {&layer.sent, &layer.before_phi, &layer.products, &layer.before_mlp, &layer.factors})
        numbers += array->capacity();
    return numbers * sizeof(Real) + links.capacity() * sizeof(Link<Real>);
  }

  void evaluate(const Neighbourhood &near, Exchange &exchange, double *energies, double *gradients) override
  {
    resize(near);
    links.find(knots, near);
    std::fill(gradients, gradients + 3 * near.edges.size(), 0.0);
    const int last = layers.size() - 1;
    for (int l = 0; l <= last; l++) {
      if (l > 0) exchange.to_ghosts(layers[l].sent.data(), 6 * C);
      for_blocks(near, [&](int first, int atoms) {
        interact(l, near, first, atoms);
        if (l == last) finish(near, first, atoms, energies);
      });
    }
    for (int l = last; l >= 0; l--) {
      exchange.to_ghosts(by_received.data(), 4 * C);
      for_blocks(near, [&](int first, int atoms) { interact_back(l, near, first, atoms, gradients); });
      by_received.swap(next_by_received);
    }
  }

 private:
  typedef std::vector<Real> Array;

  struct Layer {
    Spline<Real> filter;
    Perceptron<Real> phi, mlp;
    Linear<Real> uv;
    Real softening;
    // Kept for the gradient, a row for each atom: what is sent, packed, and, before silu, what its factors are made of; the
    // products U v and V v, and what the update makes of them.
    Array sent, before_phi, products, before_mlp, factors;

    Layer(const ModelFile &file, const std::string &index, const Knots &knots) :
        filter(filter_of(file, index, knots)), phi(file, index + ".phi"), mlp(file, index + ".mlp"), uv(file, index + ".uv"),
        softening(file.values<Real>(index + ".softening")[0])
    {
    }
  };

  const Channels<CHANNELS> C;
  const Knots knots;
  const Array embedding;
  const std::vector<double> scales, offsets;
  std::vector<Layer> layers;
  Perceptron<Real> read_out;
  Array first_sent;                         // what an atom of each element sends in the first layer
  Array scalars;                            // of own atoms at present
  Array by_received, next_by_received;      // gradients by what atoms have received, [4][C] packed, here and in the next layer
  Links<Real> links;

  // Bessel functions with learnt frequencies, mapped linearly, times a polynomial that ends at the cutoff.
  static Spline<Real> filter_of(const ModelFile &file, const std::string &index, const Knots &knots)
  {
    const double cutoff = file.number("cutoff");
    const auto frequencies = file.values<double>(index + ".frequencies");
    const Linear<double> map(file, index + ".filter");
    return Spline<Real>(knots, map.outputs / 3, [&](double d, double *f) {
      const double x = d / cutoff, x2 = x * x, end = 1 + x2 * x2 * x2 * (-28 + 48 * x - 21 * x2);
      std::copy(map.bias.begin(), map.bias.end(), f);
      for (size_t k = 0; k < frequencies.size(); k++) {
        const double bessel = std::sqrt(2 / cutoff) / d * std::sin(frequencies[k] * d);
        for (int c = 0; c < map.outputs; c++) f[c] += map.weights[k * map.outputs + c] * bessel;
      }
      for (int c = 0; c < map.outputs; c++) f[c] *= end;
    });
  }

  void resize(const Neighbourhood &near)
  {
    const size_t own = near.own, rows = near.rows;
    scalars.resize(own * C);
    for (auto *array : {&by_received, &next_by_received}) array->resize(rows * 4 * C);
    for (Layer &layer : layers) {
      for (auto *array : {&layer.before_phi, &layer.before_mlp}) array->resize(own * C);
      layer.factors.resize(own * 3 * C);
      layer.products.resize(own * 6 * C);
      layer.sent.resize(&layer == &layers[0] ? 0 : rows * 6 * C);
    }
  }

  // A layer for a block of atoms, up to what they send in the next one.
  void interact(int l, const Neighbourhood &near, int first, int atoms)
  {
    Layer &layer = layers[l];
    const PaiNNMessages<Real, Channels<CHANNELS>> messages(C, near, links);
    Real vectors[BLOCK * 3 * C], *s = &scalars[(size_t) first * C], row[6 * C];
    if (l == 0) {
      for (int r = 0; r < atoms; r++) std::copy_n(&embedding[near.element[first + r] * C], C, s + r * C);
      std::fill_n(vectors, atoms * 3 * C, Real(0));
      messages.template receive<true>(first, atoms, layer.filter, first_sent.data(), s, vectors);
    } else {
      for (int r = 0; r < atoms; r++) {
        unpack<6>(&layer.sent[(size_t) (first + r) * 6 * C], C, row);
        std::copy_n(row + 3 * C, 3 * C, vectors + r * 3 * C);
      }
      messages.template receive<false>(first, atoms, layer.filter, layer.sent.data(), s, vectors);
    }
    update(layer, first, atoms, vectors);
    if (l + 1 == (int) layers.size()) return;
    Layer &next = layers[l + 1];
    Real factors[BLOCK * 3 * C];
    next.phi.apply(s, atoms, &next.before_phi[(size_t) first * C], factors);
    for (int r = 0; r < atoms; r++) {
      std::copy_n(factors + r * 3 * C, 3 * C, row);
      std::copy_n(vectors + r * 3 * C, 3 * C, row + 3 * C);
      pack<6>(row, C, &next.sent[(size_t) (first + r) * 6 * C]);
    }
  }

  // Scalars and vectors of an atom change each other (figure 2c of the paper).
  void update(Layer &layer, int first, int atoms, Real *vectors)
  {
    Real both[BLOCK * 2 * C];
    layer.uv.apply(vectors, 3 * atoms, &layer.products[(size_t) first * 6 * C]);
    for (int r = 0; r < atoms; r++) {
      const Real *__restrict p = &layer.products[(size_t) (first + r) * 6 * C];
      Real *__restrict row = both + r * 2 * C;
      std::copy_n(&scalars[(size_t) (first + r) * C], C, row);
      for (int c = 0; c < C; c++) row[C + c] = length(layer, p, c);
    }
    layer.mlp.apply(both, atoms, &layer.before_mlp[(size_t) first * C], &layer.factors[(size_t) first * 3 * C]);
    for (int r = 0; r < atoms; r++) {
      const size_t i = first + r;
      const Real *__restrict p = &layer.products[i * 6 * C], *__restrict f = &layer.factors[i * 3 * C];
      Real *__restrict s = &scalars[i * C];
      for (int c = 0; c < C; c++) s[c] += f[C + c] + f[2 * C + c] * dot(p, c);
      Real *__restrict v = vectors + r * 3 * C;
      for (int k = 0; k < 3; k++)
        for (int c = 0; c < C; c++) v[k * C + c] += p[k * 2 * C + c] * f[c];
    }
  }

  // U v times V v of a channel, from products [3][U v, V v][C].
  Real dot(const Real *p, int c) const
  {
    return p[c] * p[C + c] + p[2 * C + c] * p[3 * C + c] + p[4 * C + c] * p[5 * C + c];
  }

  // The smooth length of V v of a channel.
  Real length(const Layer &layer, const Real *p, int c) const
  {
    return std::sqrt(p[C + c] * p[C + c] + p[3 * C + c] * p[3 * C + c] + p[5 * C + c] * p[5 * C + c] + layer.softening);
  }

  // Energies of atoms, and the way back to what they received in the last layer.
  void finish(const Neighbourhood &near, int first, int atoms, double *energies)
  {
    Real before[BLOCK * C], out[BLOCK], scale[BLOCK], by_scalars[BLOCK * C], by_vectors[BLOCK * 3 * C];
    read_out.apply(&scalars[(size_t) first * C], atoms, before, out);
    for (int r = 0; r < atoms; r++) {
      const int element = near.element[first + r];
      scale[r] = scales[element];
      energies[first + r] = out[r] * scales[element] + offsets[element];
    }
    read_out.back(before, scale, atoms, by_scalars);
    std::fill_n(by_vectors, atoms * 3 * C, Real(0));
    update_back(layers.back(), first, atoms, by_scalars, by_vectors, by_received);
  }

  // From gradients by what atoms have received in a layer to the same in the layer before.
  void interact_back(int l, const Neighbourhood &near, int first, int atoms, double *gradients)
  {
    const Layer &layer = layers[l];
    const PaiNNMessages<Real, Channels<CHANNELS>> messages(C, near, links);
    if (l == 0) {
      messages.template gather<true>(first, atoms, layer.filter, first_sent.data(), by_received.data(), nullptr, gradients);
      return;
    }
    Real by_sent[BLOCK * 6 * C], by_factors[BLOCK * 3 * C], by_scalars[BLOCK * C], by_vectors[BLOCK * 3 * C], own[4 * C];
    messages.template gather<false>(first, atoms, layer.filter, layer.sent.data(), by_received.data(), by_sent, gradients);
    for (int r = 0; r < atoms; r++) std::copy_n(by_sent + r * 6 * C, 3 * C, by_factors + r * 3 * C);
    layer.phi.back(&layer.before_phi[(size_t) first * C], by_factors, atoms, by_scalars);
    for (int r = 0; r < atoms; r++) {
      unpack<4>(&by_received[(size_t) (first + r) * 4 * C], C, own);
      for (int c = 0; c < C; c++) by_scalars[r * C + c] += own[c];
      for (int c = 0; c < 3 * C; c++) by_vectors[r * 3 * C + c] = own[C + c] + by_sent[r * 6 * C + 3 * C + c];
    }
    update_back(layers[l - 1], first, atoms, by_scalars, by_vectors, next_by_received);
  }

  // From gradients by scalars and vectors after an update to those by what atoms have received before it.
  void update_back(const Layer &layer, int first, int atoms, const Real *by_scalars, const Real *by_vectors, Array &received) const
  {
    Real by_factors[BLOCK * 3 * C], by_both[BLOCK * 2 * C], by_products[BLOCK * 6 * C], by_v[BLOCK * 3 * C];
    for (int r = 0; r < atoms; r++) {
      const Real *__restrict p = &layer.products[(size_t) (first + r) * 6 * C], *__restrict gs = by_scalars + r * C,
                 *__restrict gv = by_vectors + r * 3 * C;
      Real *__restrict g = by_factors + r * 3 * C;
      for (int c = 0; c < C; c++) {
        g[c] = gv[c] * p[c] + gv[C + c] * p[2 * C + c] + gv[2 * C + c] * p[4 * C + c];
        g[C + c] = gs[c];
        g[2 * C + c] = gs[c] * dot(p, c);
      }
    }
    layer.mlp.back(&layer.before_mlp[(size_t) first * C], by_factors, atoms, by_both);
    for (int r = 0; r < atoms; r++)
      products_back(layer, first + r, by_scalars + r * C, by_vectors + r * 3 * C, by_both + r * 2 * C + C, by_products + r * 6 * C);
    layer.uv.back(by_products, 3 * atoms, by_v);
    for (int r = 0; r < atoms; r++) {
      Real row[4 * C];
      for (int c = 0; c < C; c++) row[c] = by_scalars[r * C + c] + by_both[r * 2 * C + c];
      for (int c = 0; c < 3 * C; c++) row[C + c] = by_vectors[r * 3 * C + c] + by_v[r * 3 * C + c];
      pack<4>(row, C, &received[(size_t) (first + r) * 4 * C]);
    }
  }

  // The gradient by the products of an atom, from those by its scalars, its vectors and the lengths of V v.
  void products_back(const Layer &layer, int i, const Real *__restrict gs, const Real *__restrict gv, const Real *__restrict by_lengths,
                     Real *__restrict g) const
  {
    const Real *__restrict p = &layer.products[(size_t) i * 6 * C], *__restrict f = &layer.factors[(size_t) i * 3 * C];
    for (int c = 0; c < C; c++) {
      const Real by_dot = gs[c] * f[2 * C + c], by_length = by_lengths[c] / length(layer, p, c);
      for (int k = 0; k < 3; k++) {
        const Real u = p[k * 2 * C + c], w = p[k * 2 * C + C + c];
        g[k * 2 * C + c] = by_dot * w + gv[k * C + c] * f[c];
        g[k * 2 * C + C + c] = by_dot * u + by_length * w;
      }
    }
  }
};

}    // namespace distill

#endif
