// PaiNN (Schütt, Unke, Gastegger, arXiv:2102.03150) and its gradient, as distill trains it.
//
// Forward, each layer needs what the layer before left on the neighbours of an atom, and so one exchange with the other
// ranks; backward, each layer sends its gradients the opposite way. Features of an atom are a row: scalars [C], vectors
// [3][C], and what an atom sends, [6 C]: three times C factors and its vectors.

#ifndef DISTILL_PAINN_H
#define DISTILL_PAINN_H

#include "distill_linear.h"
#include "distill_network.h"
#include "distill_radial.h"

#include <cmath>
#include <string>
#include <vector>

namespace distill {

template <typename Real, int CHANNELS = 0> class PaiNN : public Network {
 public:
  explicit PaiNN(const ModelFile &file) :
      C(file.integer("channels")), knots(file.number("cutoff")), embedding(file.values<Real>("embedding")), scales(file.values<double>("scales")),
      offsets(file.values<double>("offsets")), read_out(file, "read_out")
  {
    for (int l = 0; l < file.integer("layers"); l++) layers.emplace_back(file, std::to_string(l), knots);
    if (C % 8) throw ModelError("its number of channels is no multiple of 8");
    const Layer &first = layers.front();
    const int elements = scales.size();
    first_sent.resize(elements * 3 * C);
    std::vector<Real> before(C);
    for (int e = 0; e < elements; e++) first.phi.apply(&embedding[e * C], 1, before.data(), &first_sent[e * 3 * C]);
  }

  size_t exchanged_bytes() const override { return 6 * C * sizeof(Real); }

  double memory_usage() const override
  {
    double numbers = by_sent.capacity() + by_scalars.capacity() + by_vectors.capacity() + final_scalars.capacity();
    for (const Layer &layer : layers) numbers += layer.numbers();
    return numbers * sizeof(Real);
  }

  void evaluate(const Neighbourhood &near, Exchange &exchange, double *energies, double *gradients) override
  {
    places.resize(near.edges.size());
    for (size_t e = 0; e < near.edges.size(); e++) knots.find(near.edges[e].distance, places[e]);
    forward(near, exchange);
    std::fill(gradients, gradients + 3 * near.edges.size(), 0.0);
    by_scalars.resize((size_t) near.own * C);
    by_vectors.assign((size_t) near.own * 3 * C, 0);
    energies_of_atoms(near, energies);
    for (int l = layers.size() - 1; l >= 0; l--) layer_back(l, near, exchange, gradients);
  }

 private:
  typedef std::vector<Real> Array;
  typedef typename Vectors<Real>::type Vector;
  static constexpr int W = Vectors<Real>::width;

  struct Layer {
    Spline<Real> filter;
    Perceptron<Real> phi, mlp;
    Linear<Real> uv;
    Real softening;
    // Kept for the gradient, a row for each atom. What comes in:
    Array scalars, sent, before_phi;
    // After the messages of neighbours: scalars, vectors, the products U v and V v, and what the update makes of them.
    Array mixed_scalars, mixed_vectors, products, before_mlp, factors;

    Layer(const ModelFile &file, const std::string &index, const Knots &knots) :
        filter(filter_of(file, index, knots)), phi(file, index + ".phi"), mlp(file, index + ".mlp"), uv(file, index + ".uv"),
        softening(file.values<Real>(index + ".softening")[0])
    {
    }

    void resize(int own, int rows, int C)
    {
      for (auto *array : {&scalars, &before_phi, &mixed_scalars, &before_mlp}) array->resize((size_t) own * C);
      for (auto *array : {&mixed_vectors, &factors}) array->resize((size_t) own * 3 * C);
      products.resize((size_t) own * 6 * C);
      sent.resize((size_t) rows * 6 * C);
    }

    double numbers() const
    {
      return scalars.capacity() + before_phi.capacity() + mixed_scalars.capacity() + before_mlp.capacity() +
          mixed_vectors.capacity() + factors.capacity() + products.capacity() + sent.capacity();
    }
  };

  const Channels<CHANNELS> C;
  const Knots knots;
  const Array embedding;
  const std::vector<double> scales, offsets;
  std::vector<Layer> layers;
  Perceptron<Real> read_out;
  Array first_sent;                                 // factors that an atom of each element sends in the first layer
  Array final_scalars, by_scalars, by_vectors;      // at the end; gradients by the features of own atoms
  std::vector<Place<Real>> places;                  // of edges among the knots
  Array by_sent;                                    // gradients by what all rows send

  // Bessel functions with learnt frequencies, mapped linearly, times a polynomial that ends at the cutoff.
  static Spline<Real> filter_of(const ModelFile &file, const std::string &index, const Knots &knots)
  {
    const double cutoff = file.number("cutoff");
    const auto frequencies = file.values<double>(index + ".frequencies");
    const Linear<double> map(file, index + ".filter");
    return Spline<Real>(knots, map.outputs, [&](Jet d, Jet *f) {
      const Jet x = d * Jet(1 / cutoff), x2 = x * x, x6 = x2 * x2 * x2;
      const Jet end = Jet(1) + x6 * (Jet(-28) + Jet(48) * x + Jet(-21) * x2), norm = Jet(std::sqrt(2 / cutoff)) * inverse(d);
      for (int c = 0; c < map.outputs; c++) f[c] = Jet(map.bias[c]);
      for (size_t k = 0; k < frequencies.size(); k++) {
        const Jet bessel = norm * sin(Jet(frequencies[k]) * d);
        for (int c = 0; c < map.outputs; c++) f[c] = f[c] + Jet(map.weights[k * map.outputs + c]) * bessel;
      }
      for (int c = 0; c < map.outputs; c++) f[c] = f[c] * end;
    });
  }

  void forward(const Neighbourhood &near, Exchange &exchange)
  {
    for (auto &layer : layers) layer.resize(near.own, near.rows, C);
    final_scalars.resize((size_t) near.own * C);
    for (size_t l = 0; l < layers.size(); l++) {
      Layer &layer = layers[l];
      if (l == 0)
        first_features(layer, near);
      else {
        for (int i = 0; i < near.own; i += BLOCK) send(layer, i, std::min(BLOCK, near.own - i));
        exchange.to_ghosts(layer.sent.data(), 6 * C);
      }
      Array &next = l + 1 < layers.size() ? layers[l + 1].scalars : final_scalars;
      Array *next_sent = l + 1 < layers.size() ? &layers[l + 1].sent : nullptr;
      for (int i = 0; i < near.own; i += BLOCK) {
        const int rows = std::min(BLOCK, near.own - i);
        for (int k = i; k < i + rows; k++) l == 0 ? receive<true>(layer, near, k) : receive<false>(layer, near, k);
        update(layer, i, rows, next.data(), next_sent);
      }
    }
  }

  // Features of atoms that know nothing but their element, and have no vectors.
  void first_features(Layer &layer, const Neighbourhood &near) const
  {
    for (int i = 0; i < near.own; i++) std::copy_n(&embedding[near.element[i] * C], C, &layer.scalars[(size_t) i * C]);
    for (int i = 0; i < near.rows; i++) {
      Real *sent = &layer.sent[(size_t) i * 6 * C];
      std::copy_n(&first_sent[near.element[i] * 3 * C], 3 * C, sent);
      std::fill_n(sent + 3 * C, 3 * C, Real(0));
    }
  }

  // The factors that atoms send; their vectors are there already.
  void send(Layer &layer, int first, int rows) const
  {
    Real factors[BLOCK * 3 * C];
    layer.phi.apply(&layer.scalars[(size_t) first * C], rows, &layer.before_phi[(size_t) first * C], factors);
    for (int r = 0; r < rows; r++) std::copy_n(factors + r * 3 * C, 3 * C, &layer.sent[(size_t) (first + r) * 6 * C]);
  }

  // Messages of neighbours (figure 2b of the paper), a vector of channels after the other.
  template <bool FIRST> void receive(Layer &layer, const Neighbourhood &near, int i) const
  {
    const Real *own = &layer.sent[(size_t) i * 6 * C + 3 * C];
    for (int c = 0; c < C; c += W) {
      Vector s = load<Real>(&layer.scalars[(size_t) i * C + c]);
      Vector v[3] = {load<Real>(own + c), load<Real>(own + C + c), load<Real>(own + 2 * C + c)};
      for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
        const Edge &edge = near.edges[e];
        const Real *x = &layer.sent[(size_t) edge.sender * 6 * C + c];
        s += load<Real>(x) * layer.filter.values(places[e], c, 3 * C);
        const Vector b = load<Real>(x + C) * layer.filter.values(places[e], C + c, 3 * C);
        for (int k = 0; k < 3; k++) v[k] += b * Real(edge.direction[k]);
        if (FIRST) continue;
        const Vector q = load<Real>(x + 2 * C) * layer.filter.values(places[e], 2 * C + c, 3 * C);
        for (int k = 0; k < 3; k++) v[k] += q * load<Real>(x + (3 + k) * C);
      }
      store<Real>(s, &layer.mixed_scalars[(size_t) i * C + c]);
      for (int k = 0; k < 3; k++) store<Real>(v[k], &layer.mixed_vectors[(size_t) i * 3 * C + k * C + c]);
    }
  }

  // Scalars and vectors of an atom change each other (figure 2c of the paper).
  void update(Layer &layer, int first, int rows, Real *next, Array *next_sent) const
  {
    Real both[BLOCK * 2 * C];
    layer.uv.apply(&layer.mixed_vectors[(size_t) first * 3 * C], 3 * rows, &layer.products[(size_t) first * 6 * C]);
    scalars_and_lengths(layer, first, rows, both);
    layer.mlp.apply(both, rows, &layer.before_mlp[(size_t) first * C], &layer.factors[(size_t) first * 3 * C]);
    for (int i = first; i < first + rows; i++) {
      const Real *__restrict p = &layer.products[(size_t) i * 6 * C], *__restrict f = &layer.factors[(size_t) i * 3 * C];
      const Real *__restrict s = &layer.mixed_scalars[(size_t) i * C], *__restrict v = &layer.mixed_vectors[(size_t) i * 3 * C];
      Real *__restrict out = next + (size_t) i * C;
      for (int c = 0; c < C; c++) {
        const Real dot = p[c] * p[C + c] + p[2 * C + c] * p[3 * C + c] + p[4 * C + c] * p[5 * C + c];
        out[c] = s[c] + f[C + c] + f[2 * C + c] * dot;
      }
      if (!next_sent) continue;
      Real *__restrict vectors = &(*next_sent)[(size_t) i * 6 * C + 3 * C];
      for (int k = 0; k < 3; k++)
        for (int c = 0; c < C; c++) vectors[k * C + c] = v[k * C + c] + p[k * 2 * C + c] * f[c];
    }
  }

  // What the update looks at, [rows][2 C]: scalars, and smooth lengths of V v.
  void scalars_and_lengths(const Layer &layer, int first, int rows, Real *both) const
  {
    for (int r = 0; r < rows; r++) {
      const Real *p = &layer.products[(size_t) (first + r) * 6 * C];
      Real *row = both + r * 2 * C;
      std::copy_n(&layer.mixed_scalars[(size_t) (first + r) * C], C, row);
      for (int c = 0; c < C; c++) {
        const Real x = p[C + c], y = p[3 * C + c], z = p[5 * C + c];
        row[C + c] = std::sqrt(x * x + y * y + z * z + layer.softening);
      }
    }
  }

  void energies_of_atoms(const Neighbourhood &near, double *energies)
  {
    Real before[BLOCK * C], out[BLOCK], scale[BLOCK];
    for (int i = 0; i < near.own; i += BLOCK) {
      const int rows = std::min(BLOCK, near.own - i);
      read_out.apply(&final_scalars[(size_t) i * C], rows, before, out);
      for (int r = 0; r < rows; r++) {
        const int element = near.element[i + r];
        scale[r] = scales[element];
        energies[i + r] = out[r] * scales[element] + offsets[element];
      }
      read_out.back(before, scale, rows, &by_scalars[(size_t) i * C]);
    }
  }

  // From gradients by what a layer gives to those by what it gets, and by the vectors of edges.
  void layer_back(int l, const Neighbourhood &near, Exchange &exchange, double *gradients)
  {
    const Layer &layer = layers[l];
    if (l > 0) by_sent.assign((size_t) near.rows * 6 * C, 0);
    for (int i = 0; i < near.own; i += BLOCK) {
      const int rows = std::min(BLOCK, near.own - i);
      update_back(layer, i, rows);
      for (int k = i; k < i + rows; k++)
        l == 0 ? receive_back<true>(layer, near, k, gradients) : receive_back<false>(layer, near, k, gradients);
    }
    if (l == 0) return;
    exchange.from_ghosts(by_sent.data(), 6 * C);
    for (int i = 0; i < near.own; i += BLOCK) send_back(layer, i, std::min(BLOCK, near.own - i));
  }

  void update_back(const Layer &layer, int first, int rows)
  {
    Real by_factors[BLOCK * 3 * C], both[BLOCK * 2 * C], by_both[BLOCK * 2 * C], by_products[BLOCK * 6 * C],
        by_mixed[BLOCK * 3 * C];
    for (int r = 0; r < rows; r++) {
      const Real *__restrict p = &layer.products[(size_t) (first + r) * 6 * C], *__restrict gs = &by_scalars[(size_t) (first + r) * C],
                 *__restrict gv = &by_vectors[(size_t) (first + r) * 3 * C];
      Real *__restrict g = by_factors + r * 3 * C;
      for (int c = 0; c < C; c++) {
        g[c] = gv[c] * p[c] + gv[C + c] * p[2 * C + c] + gv[2 * C + c] * p[4 * C + c];
        g[C + c] = gs[c];
        g[2 * C + c] = gs[c] * (p[c] * p[C + c] + p[2 * C + c] * p[3 * C + c] + p[4 * C + c] * p[5 * C + c]);
      }
    }
    layer.mlp.back(&layer.before_mlp[(size_t) first * C], by_factors, rows, by_both);
    scalars_and_lengths(layer, first, rows, both);
    for (int r = 0; r < rows; r++) {
      const size_t i = first + r;
      const Real *__restrict p = &layer.products[i * 6 * C], *__restrict f = &layer.factors[i * 3 * C];
      const Real *__restrict gb = by_both + r * 2 * C, *__restrict b = both + r * 2 * C, *__restrict gv = &by_vectors[i * 3 * C];
      Real *__restrict gs = &by_scalars[i * C], *__restrict g = by_products + r * 6 * C;
      for (int c = 0; c < C; c++) {
        const Real by_dot = gs[c] * f[2 * C + c], by_length = gb[C + c] / b[C + c];
        for (int k = 0; k < 3; k++) {
          const Real u = p[k * 2 * C + c], w = p[k * 2 * C + C + c];
          g[k * 2 * C + c] = by_dot * w + gv[k * C + c] * f[c];
          g[k * 2 * C + C + c] = by_dot * u + by_length * w;
        }
        gs[c] += gb[c];
      }
    }
    layer.uv.back(by_products, 3 * rows, by_mixed);
    Real *gv = &by_vectors[(size_t) first * 3 * C];
    for (int c = 0; c < rows * 3 * C; c++) gv[c] += by_mixed[c];
  }

  template <bool FIRST> void receive_back(const Layer &layer, const Neighbourhood &near, int i, double *gradients)
  {
    const Real *gs = &by_scalars[(size_t) i * C], *gv = &by_vectors[(size_t) i * 3 * C];
    for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
      const Edge &edge = near.edges[e];
      const Place<Real> &place = places[e];
      const Real u[3] = {Real(edge.direction[0]), Real(edge.direction[1]), Real(edge.direction[2])};
      Vector by_distance = {}, by_direction[3] = {};
      for (int c = 0; c < C; c += W) {
        const Real *x = &layer.sent[(size_t) edge.sender * 6 * C + c];
        const Vector g0 = load<Real>(gs + c), g[3] = {load<Real>(gv + c), load<Real>(gv + C + c), load<Real>(gv + 2 * C + c)};
        const Vector along = g[0] * u[0] + g[1] * u[1] + g[2] * u[2];
        const Vector x0 = load<Real>(x), x1 = load<Real>(x + C), f1 = layer.filter.values(place, C + c, 3 * C), b = x1 * f1;
        by_distance += g0 * x0 * layer.filter.slopes(place, c, 3 * C) + along * x1 * layer.filter.slopes(place, C + c, 3 * C);
        for (int k = 0; k < 3; k++) by_direction[k] += b * g[k];
        if (FIRST) continue;
        const Vector x2 = load<Real>(x + 2 * C), f2 = layer.filter.values(place, 2 * C + c, 3 * C), q = x2 * f2;
        const Vector dot = g[0] * load<Real>(x + 3 * C) + g[1] * load<Real>(x + 4 * C) + g[2] * load<Real>(x + 5 * C);
        by_distance += dot * x2 * layer.filter.slopes(place, 2 * C + c, 3 * C);
        Real *to = &by_sent[(size_t) edge.sender * 6 * C + c];
        store<Real>(load<Real>(to) + g0 * layer.filter.values(place, c, 3 * C), to);
        store<Real>(load<Real>(to + C) + along * f1, to + C);
        store<Real>(load<Real>(to + 2 * C) + dot * f2, to + 2 * C);
        for (int k = 0; k < 3; k++) store<Real>(load<Real>(to + (3 + k) * C) + q * g[k], to + (3 + k) * C);
      }
      add_gradient(edge, by_distance, by_direction, gradients + 3 * e);
    }
  }

  // From gradients by distance and direction to that by the vector of the edge.
  static void add_gradient(const Edge &edge, Vector by_distance, const Vector *by_direction, double *gradient)
  {
    double b[3], along = 0;
    for (int k = 0; k < 3; k++) {
      b[k] = sum_of<Real>(by_direction[k]) / edge.distance;
      along += b[k] * edge.direction[k];
    }
    const double slope = sum_of<Real>(by_distance) - along;
    for (int k = 0; k < 3; k++) gradient[k] += slope * edge.direction[k] + b[k];
  }

  void send_back(const Layer &layer, int first, int rows)
  {
    Real by_factors[BLOCK * 3 * C], by_phi[BLOCK * C];
    for (int r = 0; r < rows; r++) std::copy_n(&by_sent[(size_t) (first + r) * 6 * C], 3 * C, by_factors + r * 3 * C);
    layer.phi.back(&layer.before_phi[(size_t) first * C], by_factors, rows, by_phi);
    Real *gs = &by_scalars[(size_t) first * C];
    for (int c = 0; c < rows * C; c++) gs[c] += by_phi[c];
    for (int r = 0; r < rows; r++) {
      const Real *vectors = &by_sent[(size_t) (first + r) * 6 * C + 3 * C];
      Real *gv = &by_vectors[(size_t) (first + r) * 3 * C];
      for (int c = 0; c < 3 * C; c++) gv[c] += vectors[c];
    }
  }
};

}    // namespace distill

#endif
