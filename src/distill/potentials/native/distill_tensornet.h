// TensorNet (Simeon, De Fabritiis, arXiv:2306.06482) and its gradient, as distill trains it.
//
// Forward, each layer needs what the layer before left on the neighbours of an atom; backward, the gradients by what
// neighbours received. Before each of these the rows of ghost atoms are exchanged with other ranks.

#ifndef DISTILL_TENSORNET_H
#define DISTILL_TENSORNET_H

#include "distill_tensornet_messages.h"

#include <cmath>
#include <string>
#include <vector>

namespace distill {

template <typename Real, int CHANNELS = 0> class TensorNet : public Network {
 public:
  explicit TensorNet(const ModelFile &file) :
      C(file.integer("channels")), tensors(C), knots(file.number("cutoff"), sizeof(Real)), scales(file.values<double>("scales")),
      offsets(file.values<double>("offsets")), species{file.values<Real>("own"), file.values<Real>("other")},
      embedding_filter(radial(file, "embedding.radial", knots)), embedding_norm(file, "embedding.norm", C),
      embedding_mlp(file, "embedding.mlp"), embedding_linear(file, "embedding.linear"), norm(file, "norm", C),
      read_out(file, "read_out")
  {
    if (C % 8) throw ModelError("its number of channels is no multiple of 8");
    for (int l = 0; l < file.integer("layers"); l++) layers.emplace_back(file, std::to_string(l), knots);
  }

  size_t exchanged_bytes() const override { return 9 * C * sizeof(Real); }

  double memory_usage() const override
  {
    double numbers = embedded.capacity() + gradient.capacity() + by_received.capacity() + next_by_received.capacity();
    for (const Layer &layer : layers)
      for (const auto *array : {&layer.features, &layer.normal, &layer.sent, &layer.before_mixed, &layer.received, &layer.mixed, &layer.changes})
        numbers += array->capacity();
    return numbers * sizeof(Real) + links.capacity() * sizeof(Link<Real>);
  }

  void evaluate(const Neighbourhood &near, Exchange &exchange, double *energies, double *gradients) override
  {
    resize(near);
    links.find(knots, near);
    std::fill(gradients, gradients + 3 * near.edges.size(), 0.0);
    const int last = layers.size() - 1;
    for (int l = -1; l <= last; l++) {
      if (l >= 0) exchange.to_ghosts(layers[l].sent.data(), 9 * C);
      for_blocks(near, [&](int first, int atoms) { forward(l, near, first, atoms, energies); });
    }
    for (int l = last; l >= 0; l--) {
      exchange.to_ghosts(by_received.data(), 9 * C);
      for_blocks(near, [&](int first, int atoms) { backward(l, near, first, atoms, gradients); });
      by_received.swap(next_by_received);
    }
  }

 private:
  typedef std::vector<Real> Array;
  typedef Channels<CHANNELS> Count;

  struct Layer {
    Spline<Real> filter;
    PartwiseLinear<Real> before, after;
    // Kept for the gradient, rows [9][C]: what comes in; that by its norm, and the same packed, as it is sent; what the first
    // map makes of it; what is received; the product of both; and what is added.
    Array features, normal, sent, before_mixed, received, mixed, changes;

    Layer(const ModelFile &file, const std::string &index, const Knots &knots) :
        filter(radial(file, index + ".radial", knots)), before(file, index + ".before"), after(file, index + ".after")
    {
    }
  };

  const Count C;
  const Tensors<Real, Count> tensors;
  const Knots knots;
  const std::vector<double> scales, offsets;
  const Species<Real> species;
  Spline<Real> embedding_filter;
  LayerNorm<Real> embedding_norm;
  Perceptron<Real> embedding_mlp;
  PartwiseLinear<Real> embedding_linear;
  std::vector<Layer> layers;
  LayerNorm<Real> norm;
  Perceptron<Real> read_out;
  Links<Real> links;
  // Rows [9][C]: sums over neighbours; gradients by features; packed, gradients by what atoms have received in this layer and
  // the next, also of ghosts.
  Array embedded, gradient, by_received, next_by_received;

  // Gaussians of exp(-d), mapped by a linear map or by two with silu after each, times a cosine that ends at the cutoff.
  static Spline<Real> radial(const ModelFile &file, const std::string &name, const Knots &knots)
  {
    const double cutoff = file.number("cutoff");
    const auto beta = file.values<double>(name + ".beta"), centres = file.values<double>(name + ".centres");
    std::vector<Linear<double>> maps;
    const bool activated = file.has(name + ".first.weight");
    if (activated)
      for (const char *which : {".first", ".second"}) maps.emplace_back(file, name + which);
    else
      maps.emplace_back(file, name + ".mapping");
    return Spline<Real>(knots, maps.back().outputs / 3, [&](double d, double *f) {
      std::vector<double> x, y;
      for (size_t k = 0; k < beta.size(); k++) x.push_back(std::exp(-beta[k] * std::pow(std::exp(-d) - centres[k], 2)));
      for (const auto &map : maps) {
        y.resize(map.outputs);
        map.apply(x.data(), 1, y.data());
        if (activated)
          for (double &one : y) one *= logistic(one);
        x = y;
      }
      for (size_t c = 0; c < x.size(); c++) f[c] = x[c] * (1 + std::cos(M_PI / cutoff * d)) / 2;
    });
  }

  void resize(const Neighbourhood &near)
  {
    const size_t own = (size_t) near.own * 9 * C, rows = (size_t) near.rows * 9 * C;
    for (auto *array : {&embedded, &gradient}) array->resize(own);
    for (auto *array : {&by_received, &next_by_received}) array->resize(rows);
    for (Layer &layer : layers) {
      for (auto *array : {&layer.features, &layer.normal, &layer.before_mixed, &layer.received, &layer.mixed, &layer.changes}) array->resize(own);
      layer.sent.resize(rows);
    }
  }

  TensorNetMessages<Real, Count> messages(const Neighbourhood &near) const { return {C, near, links}; }

  size_t row(int i) const { return (size_t) i * 9 * C; }

  // A layer for a block of atoms, up to what they send in the next one; layer -1 is the embedding.
  void forward(int l, const Neighbourhood &near, int first, int atoms, double *energies)
  {
    Real features[BLOCK * 9 * C];
    if (l < 0)
      embed(near, first, atoms, features);
    else {
      Layer &layer = layers[l];
      messages(near).receive(first, atoms, layer.filter, layer.sent.data(), &layer.received[row(first)]);
      mix(layer, first, atoms, features);
    }
    if (l + 1 < (int) layers.size()) {
      Layer &next = layers[l + 1];
      std::copy_n(features, row(atoms), &next.features[row(first)]);
      for (int r = 0; r < atoms; r++) {
        Real *normal = &next.normal[row(first + r)];
        tensors.normalise(features + row(r), normal);
        pack<9>(normal, C, &next.sent[row(first + r)]);
      }
      return;
    }
    energies_of_atoms(near, first, atoms, features, energies);
    mix_back(layers[l], first, atoms, by_received);
  }

  // From gradients by what atoms have received in a layer to the same in the layer before.
  void backward(int l, const Neighbourhood &near, int first, int atoms, double *gradients)
  {
    const Layer &layer = layers[l];
    Real by_sent[BLOCK * 9 * C], *g = &gradient[row(first)];
    messages(near).gather(first, atoms, layer.filter, layer.sent.data(), by_received.data(), by_sent, gradients);
    for (size_t c = 0; c < row(atoms); c++) g[c] += by_sent[c];
    for (int r = 0; r < atoms; r++) tensors.normalise_back(&layer.features[row(first + r)], g + row(r));
    if (l > 0)
      mix_back(layers[l - 1], first, atoms, next_by_received);
    else
      embed_back(near, first, atoms, gradients);
  }

  // What atoms make of their neighbours' elements: factors of the parts of a linear map, from norms.
  void coefficients(int first, int atoms, Real *normal, Real *scale, Real *before, Real *linear, Real *last) const
  {
    Real norms[3 * C], input[BLOCK * C];
    for (int r = 0; r < atoms; r++) {
      tensors.squared_norms(&embedded[row(first + r)], norms);
      for (int c = 0; c < C; c++) norms[c] += norms[C + c] + norms[2 * C + c];
      scale[r] = embedding_norm.apply(norms, normal + r * C, input + r * C);
    }
    embedding_mlp.apply(input, atoms, before, last);
    embedding_linear.apply(&embedded[row(first)], atoms, linear);
  }

  void embed(const Neighbourhood &near, int first, int atoms, Real *features)
  {
    messages(near).embed(first, atoms, embedding_filter, species, &embedded[row(first)]);
    Real normal[BLOCK * C], scale[BLOCK], before[BLOCK * 2 * C], linear[BLOCK * 9 * C], last[BLOCK * 3 * C];
    coefficients(first, atoms, normal, scale, before, linear, last);
    for (int c = 0; c < atoms * 3 * C; c++) last[c] *= logistic(last[c]);
    for (int r = 0; r < atoms; r++)
      for (int k = 0; k < 9; k++)
        for (int c = 0; c < C; c++) features[(r * 9 + k) * C + c] = last[(r * 3 + PART[k]) * C + c] * linear[(r * 9 + k) * C + c];
  }

  void embed_back(const Neighbourhood &near, int first, int atoms, double *gradients)
  {
    Real normal[BLOCK * C], scale[BLOCK], before[BLOCK * 2 * C], linear[BLOCK * 9 * C], last[BLOCK * 3 * C], factors[BLOCK * 3 * C];
    Real by_last[BLOCK * 3 * C], by_linear[BLOCK * 9 * C], by_input[BLOCK * C], by_norms[2 * C];
    coefficients(first, atoms, normal, scale, before, linear, last);
    for (int c = 0; c < atoms * 3 * C; c++) factors[c] = last[c] * logistic(last[c]);
    std::fill_n(by_last, atoms * 3 * C, Real(0));
    Real *g = &gradient[row(first)];
    for (int r = 0; r < atoms; r++)
      for (int k = 0; k < 9; k++)
        for (int c = 0; c < C; c++) {
          const Real one = g[(r * 9 + k) * C + c];
          by_last[(r * 3 + PART[k]) * C + c] += one * linear[(r * 9 + k) * C + c];
          by_linear[(r * 9 + k) * C + c] = one * factors[(r * 3 + PART[k]) * C + c];
        }
    silu_back(last, atoms * 3 * C, by_last);
    embedding_mlp.back(before, by_last, atoms, by_input);
    embedding_linear.back(by_linear, atoms, g);
    for (int r = 0; r < atoms; r++) {
      embedding_norm.back(normal + r * C, scale[r], by_input + r * C, by_norms);
      const Real *x = &embedded[row(first + r)];
      for (int k = 0; k < 9; k++)
        for (int c = 0; c < C; c++) g[(r * 9 + k) * C + c] += 2 * NORM[k] * by_norms[c] * x[k * C + c];
    }
    messages(near).embed_back(first, atoms, embedding_filter, species, g, gradients);
  }

  void mix(Layer &layer, int first, int atoms, Real *features) const
  {
    const size_t at = row(first);
    Real scaled[BLOCK * 9 * C], square[9 * C];
    layer.before.apply(&layer.normal[at], atoms, &layer.before_mixed[at]);
    for (int r = 0; r < atoms; r++) {
      tensors.multiply(&layer.before_mixed[at + row(r)], &layer.received[at + row(r)], &layer.mixed[at + row(r)]);
      tensors.normalise(&layer.mixed[at + row(r)], scaled + row(r));
    }
    layer.after.apply(scaled, atoms, &layer.changes[at]);
    for (int r = 0; r < atoms; r++) {
      const Real *normal = &layer.normal[at + row(r)], *change = &layer.changes[at + row(r)];
      tensors.multiply(change, change, square);
      for (int c = 0; c < 9 * C; c++) features[row(r) + c] = normal[c] + change[c] + square[c] / 2;
    }
  }

  // From gradients by features after a layer to those by what is sent, as far as atoms themselves use it, and received.
  void mix_back(const Layer &layer, int first, int atoms, Array &received)
  {
    const size_t at = row(first);
    Real by_changes[BLOCK * 9 * C], by_mixed[BLOCK * 9 * C], by_before[BLOCK * 9 * C], added[BLOCK * 9 * C], by_own[9 * C];
    std::copy_n(&gradient[at], row(atoms), by_changes);
    for (int r = 0; r < atoms; r++) tensors.multiply_back(&gradient[at + row(r)], &layer.changes[at + row(r)], by_changes + row(r));
    layer.after.back(by_changes, atoms, by_mixed);
    std::fill_n(by_before, row(atoms), Real(0));
    for (int r = 0; r < atoms; r++) {
      Real *g = by_mixed + row(r);
      tensors.normalise_back(&layer.mixed[at + row(r)], g);
      tensors.multiply_back(g, &layer.received[at + row(r)], by_before + row(r));
      std::fill_n(by_own, 9 * C, Real(0));
      tensors.multiply_back(g, &layer.before_mixed[at + row(r)], by_own);
      pack<9>(by_own, C, &received[at + row(r)]);
    }
    layer.before.back(by_before, atoms, added);
    for (size_t c = 0; c < row(atoms); c++) gradient[at + c] += added[c];
  }

  void energies_of_atoms(const Neighbourhood &near, int first, int atoms, const Real *features, double *energies)
  {
    Real norms[3 * C], input[BLOCK * 3 * C], normal[BLOCK * 3 * C], deviations[BLOCK], before[BLOCK * 2 * C], out[BLOCK];
    Real scale[BLOCK], by_input[BLOCK * 3 * C];
    for (int r = 0; r < atoms; r++) {
      tensors.squared_norms(features + row(r), norms);
      deviations[r] = norm.apply(norms, normal + r * 3 * C, input + r * 3 * C);
    }
    read_out.apply(input, atoms, before, out);
    for (int r = 0; r < atoms; r++) {
      const int element = near.element[first + r];
      scale[r] = scales[element];
      energies[first + r] = out[r] * scales[element] + offsets[element];
    }
    read_out.back(before, scale, atoms, by_input);
    for (int r = 0; r < atoms; r++) {
      norm.back(normal + r * 3 * C, deviations[r], by_input + r * 3 * C, norms);
      Real *g = &gradient[row(first + r)];
      for (int k = 0; k < 9; k++)
        for (int c = 0; c < C; c++) g[k * C + c] = 2 * NORM[k] * norms[PART[k] * C + c] * features[row(r) + k * C + c];
    }
  }
};

}    // namespace distill

#endif
