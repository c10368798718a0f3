// TensorNet (Simeon, De Fabritiis, arXiv:2306.06482) and its gradient, as distill trains it.
//
// A 3 x 3 tensor of each channel is kept as nine components: one of the identity, three of the antisymmetric part, five of
// the symmetric traceless one. Features of an atom are a row [9][C]; neighbours exchange them once in each layer.

#ifndef DISTILL_TENSORNET_H
#define DISTILL_TENSORNET_H

#include "distill_linear.h"
#include "distill_network.h"
#include "distill_radial.h"

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

  // x and y are rows of atoms; `back` maps gradients by the result to those by the argument.
  void apply(const Real *x, int atoms, Real *y, bool back = false) const
  {
    const int C = maps[0].inputs;
    Real gathered[BLOCK * 5 * C], mapped[BLOCK * 5 * C];
    for (int part = 0; part < 3; part++) {
      const int first = FIRST[part], n = (FIRST[part + 1] - first) * C;
      for (int i = 0; i < atoms; i++) std::copy_n(x + (i * 9 + first) * C, n, gathered + i * n);
      if (back)
        maps[part].back(gathered, atoms * n / C, mapped);
      else
        maps[part].apply(gathered, atoms * n / C, mapped);
      for (int i = 0; i < atoms; i++) std::copy_n(mapped + i * n, n, y + (i * 9 + first) * C);
    }
  }
};

// Normalisation of a row to mean 0 and variance 1, with learnt weights; channels that fill up a vector do not count.
template <typename Real> struct LayerNorm {
  std::vector<Real> weight, bias;
  int padded, counted;    // channels in each block: all, and those that count

  LayerNorm(const ModelFile &file, const std::string &name, int channels) :
      weight(file.values<Real>(name + ".weight")), bias(file.values<Real>(name + ".bias")), padded(channels),
      counted(file.integer("counted_channels"))
  {
  }

  // Writes the normalised row before weights as well, and returns the reciprocal of the standard deviation.
  Real apply(const Real *x, Real *normal, Real *y) const
  {
    const int n = weight.size(), n_counted = n / padded * counted;
    Real mean = 0, variance = 0;
    for (int c = 0; c < n; c++) mean += x[c];
    mean /= n_counted;
    for (int c = 0; c < n; c++) {
      normal[c] = c % padded < counted ? x[c] - mean : Real(0);
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
    const int n = weight.size(), n_counted = n / padded * counted;
    Real mean = 0, along = 0;
    for (int c = 0; c < n; c++) {
      x[c] = gradient[c] * weight[c];
      mean += x[c];
      along += x[c] * normal[c];
    }
    for (int c = 0; c < n; c++)
      x[c] = c % padded < counted ? scale * (x[c] - mean / n_counted - normal[c] * along / n_counted) : Real(0);
  }
};

template <typename Real> class TensorNet : public Network {
 public:
  explicit TensorNet(const ModelFile &file) :
      C(file.integer("channels")), knots(file.number("cutoff")), scales(file.values<double>("scales")),
      offsets(file.values<double>("offsets")), own_species(file.values<Real>("own")),
      other_species(file.values<Real>("other")), embedding_filter(radial(file, "embedding.radial", knots)),
      embedding_norm(file, "embedding.norm", C), embedding_mlp(file, "embedding.mlp"),
      embedding_linear(file, "embedding.linear"), norm(file, "norm", C), read_out(file, "read_out")
  {
    if (C % 8) throw ModelError("its number of channels is no multiple of 8");
    for (int l = 0; l < file.integer("layers"); l++) layers.emplace_back(file, std::to_string(l), knots);
    const auto product = file.values<double>("product");
    for (int k = 0; k < 729; k++)
      if (product[k] != 0) products.push_back({k / 81, k / 9 % 9, k % 9, Real(product[k])});
  }

  size_t exchanged_bytes() const override { return 9 * C * sizeof(Real); }

  double memory_usage() const override
  {
    double numbers = embedded.capacity() + gradient.capacity() + by_sent.capacity() + final_features.capacity();
    for (const Layer &layer : layers)
      for (const auto *array : {&layer.features, &layer.sent, &layer.before_mixed, &layer.received, &layer.mixed, &layer.changes})
        numbers += array->capacity();
    return numbers * sizeof(Real);
  }

  void evaluate(const Neighbourhood &near, Exchange &exchange, double *energies, double *gradients) override
  {
    places.resize(near.edges.size());
    for (size_t e = 0; e < near.edges.size(); e++) knots.find(near.edges[e].distance, places[e]);
    std::fill(gradients, gradients + 3 * near.edges.size(), 0.0);
    const size_t own = (size_t) near.own * 9 * C;
    for (auto *array : {&embedded, &final_features, &gradient}) array->resize(own);
    for (Layer &layer : layers) {
      for (auto *array : {&layer.features, &layer.before_mixed, &layer.received, &layer.mixed, &layer.changes}) array->resize(own);
      layer.sent.resize((size_t) near.rows * 9 * C);
    }
    for (int i = 0; i < near.own; i++) embed_edges(near, i);
    for_blocks(near.own, [&](int first, int atoms) { embed(first, atoms); });
    for (size_t l = 0; l < layers.size(); l++) interact(layers[l], near, exchange, features_after(l));
    for_blocks(near.own, [&](int first, int atoms) { energies_of_atoms(near, first, atoms, energies); });
    for (int l = layers.size() - 1; l >= 0; l--) interact_back(layers[l], near, exchange, gradients);
    for_blocks(near.own, [&](int first, int atoms) { embed_back(first, atoms); });
    for (int i = 0; i < near.own; i++) embed_edges_back(near, i, gradients);
  }

 private:
  typedef std::vector<Real> Array;
  typedef typename Vectors<Real>::type Vector;
  static constexpr int W = Vectors<Real>::width;

  struct Layer {
    Spline<Real> filter;
    PartwiseLinear<Real> before, after;
    // Kept for the gradient, rows [9][C]: what comes in; what is sent, which is that by its norm; what the first map makes
    // of it; what is received; the product of both; and what is added.
    Array features, sent, before_mixed, received, mixed, changes;

    Layer(const ModelFile &file, const std::string &index, const Knots &knots) :
        filter(radial(file, index + ".radial", knots)), before(file, index + ".before"), after(file, index + ".after")
    {
    }
  };

  // A term of the product X Y + Y X: component `to` has `factor` of component `a` of X times `b` of Y; the same for b and a.
  struct Term {
    int to, a, b;
    Real factor;
  };

  const int C;
  const Knots knots;
  const std::vector<double> scales, offsets;
  const Array own_species, other_species;    // [elements][C]
  Spline<Real> embedding_filter;
  LayerNorm<Real> embedding_norm;
  Perceptron<Real> embedding_mlp;
  PartwiseLinear<Real> embedding_linear;
  std::vector<Layer> layers;
  LayerNorm<Real> norm;
  Perceptron<Real> read_out;
  std::vector<Term> products;
  std::vector<Place<Real>> places;    // of edges among the knots
  Array embedded;                     // sums over neighbours, rows [9][C]
  Array final_features, gradient;     // at the end; gradients by features of own atoms
  Array by_sent;                      // gradients by what all rows send

  template <typename Function> static void for_blocks(int own, Function function)
  {
    for (int i = 0; i < own; i += BLOCK) function(i, std::min(BLOCK, own - i));
  }

  Array &features_after(size_t l) { return l + 1 < layers.size() ? layers[l + 1].features : final_features; }
  Array &first_features() { return layers.empty() ? final_features : layers[0].features; }

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
    return Spline<Real>(knots, maps.back().outputs, [&](Jet d, Jet *f) {
      std::vector<Jet> x;
      const Jet near = exp(Jet(-1) * d), end = Jet(0.5) * (Jet(1) + cos(Jet(M_PI / cutoff) * d));
      for (size_t k = 0; k < beta.size(); k++) {
        const Jet off = near - Jet(centres[k]);
        x.push_back(exp(Jet(-beta[k]) * off * off));
      }
      for (const auto &map : maps) {
        std::vector<Jet> y(map.bias.begin(), map.bias.end());
        for (int k = 0; k < map.inputs; k++)
          for (int o = 0; o < map.outputs; o++) y[o] = y[o] + Jet(map.weights[k * map.outputs + o]) * x[k];
        if (activated)
          for (Jet &one : y) one = silu(one);
        x = y;
      }
      for (size_t c = 0; c < x.size(); c++) f[c] = x[c] * end;
    });
  }

  // Components of the identity, of the cross product with a unit vector, and of r r^T - 1/3.
  static void shape_of(const double *u, Real *shape)
  {
    const double x = u[0], y = u[1], z = u[2], root = std::sqrt(2.0);
    const double values[9] = {1, x, y, z, root * x * y, root * y * z, root * x * z, (x * x - y * y) / root,
                              (2 * z * z - x * x - y * y) / std::sqrt(6.0)};
    for (int k = 0; k < 9; k++) shape[k] = values[k];
  }

  // The gradient by the vector of an edge, from those by its distance and by its shape.
  static void add_gradient(const Edge &edge, double by_distance, const double *by_shape, double *gradient)
  {
    const double x = edge.direction[0], y = edge.direction[1], z = edge.direction[2], root = std::sqrt(2.0), six = std::sqrt(6.0);
    const double *g = by_shape;
    const double b[3] = {g[1] + root * (y * g[4] + z * g[6] + x * g[7]) - 2 * x / six * g[8],
                         g[2] + root * (x * g[4] + z * g[5] - y * g[7]) - 2 * y / six * g[8],
                         g[3] + root * (y * g[5] + x * g[6]) + 4 * z / six * g[8]};
    const double along = b[0] * x + b[1] * y + b[2] * z;
    for (int k = 0; k < 3; k++) gradient[k] += by_distance * edge.direction[k] + (b[k] - along * edge.direction[k]) / edge.distance;
  }

  Vector species(const Neighbourhood &near, int i, int j, int c) const
  {
    return load<Real>(&own_species[near.element[i] * C + c]) + load<Real>(&other_species[near.element[j] * C + c]);
  }

  void embed_edges(const Neighbourhood &near, int i)
  {
    for (int c = 0; c < C; c += W) {
      Vector sums[9] = {};
      for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
        Real shape[9];
        shape_of(near.edges[e].direction, shape);
        const Vector z = species(near, i, near.edges[e].sender, c);
        Vector factors[3];
        for (int part = 0; part < 3; part++) factors[part] = z * embedding_filter.values(places[e], part * C + c, 3 * C);
        for (int k = 0; k < 9; k++) sums[k] += factors[PART[k]] * shape[k];
      }
      for (int k = 0; k < 9; k++) store<Real>(sums[k], &embedded[((size_t) i * 9 + k) * C + c]);
    }
  }

  void embed_edges_back(const Neighbourhood &near, int i, double *gradients) const
  {
    for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
      const Edge &edge = near.edges[e];
      Real shape[9];
      shape_of(edge.direction, shape);
      Vector by_distance = {}, by_shape[9] = {};
      for (int c = 0; c < C; c += W) {
        const Vector z = species(near, i, edge.sender, c);
        Vector factors[3], slopes[3];
        for (int part = 0; part < 3; part++) {
          factors[part] = z * embedding_filter.values(places[e], part * C + c, 3 * C);
          slopes[part] = z * embedding_filter.slopes(places[e], part * C + c, 3 * C);
        }
        for (int k = 0; k < 9; k++) {
          const Vector g = load<Real>(&gradient[((size_t) i * 9 + k) * C + c]);
          by_shape[k] += g * factors[PART[k]];
          by_distance += g * slopes[PART[k]] * shape[k];
        }
      }
      double sums[9];
      for (int k = 0; k < 9; k++) sums[k] = sum_of<Real>(by_shape[k]);
      add_gradient(edge, sum_of<Real>(by_distance), sums, gradients + 3 * e);
    }
  }

  // Squared norms of the three parts of a row, [3][C].
  void squared_norms(const Real *x, Real *norms) const
  {
    std::fill_n(norms, 3 * C, Real(0));
    for (int k = 0; k < 9; k++)
      for (int c = 0; c < C; c++) norms[PART[k] * C + c] += NORM[k] * x[k * C + c] * x[k * C + c];
  }

  // What an atom makes of its neighbours' elements: factors of the parts of a linear map, from norms.
  void coefficients(int first, int atoms, Real *normal, Real *scale, Real *before, Real *linear, Real *last) const
  {
    Real norms[3 * C], input[BLOCK * C];
    for (int r = 0; r < atoms; r++) {
      squared_norms(&embedded[(size_t) (first + r) * 9 * C], norms);
      for (int c = 0; c < C; c++) norms[c] += norms[C + c] + norms[2 * C + c];
      scale[r] = embedding_norm.apply(norms, normal + r * C, input + r * C);
    }
    embedding_mlp.apply(input, atoms, before, last);
    embedding_linear.apply(&embedded[(size_t) first * 9 * C], atoms, linear);
  }

  void embed(int first, int atoms)
  {
    Real normal[BLOCK * C], scale[BLOCK], before[BLOCK * 2 * C], linear[BLOCK * 9 * C], last[BLOCK * 3 * C];
    coefficients(first, atoms, normal, scale, before, linear, last);
    for (int c = 0; c < atoms * 3 * C; c++) last[c] *= logistic(last[c]);
    Real *x = &first_features()[(size_t) first * 9 * C];
    for (int r = 0; r < atoms; r++)
      for (int k = 0; k < 9; k++)
        for (int c = 0; c < C; c++) x[(r * 9 + k) * C + c] = last[(r * 3 + PART[k]) * C + c] * linear[(r * 9 + k) * C + c];
  }

  void embed_back(int first, int atoms)
  {
    Real normal[BLOCK * C], scale[BLOCK], before[BLOCK * 2 * C], linear[BLOCK * 9 * C], last[BLOCK * 3 * C];
    Real by_last[BLOCK * 3 * C], by_linear[BLOCK * 9 * C], by_input[BLOCK * C], by_norms[C];
    coefficients(first, atoms, normal, scale, before, linear, last);
    std::fill_n(by_last, atoms * 3 * C, Real(0));
    Real *g = &gradient[(size_t) first * 9 * C];
    for (int r = 0; r < atoms; r++)
      for (int k = 0; k < 9; k++)
        for (int c = 0; c < C; c++) {
          const Real x = last[(r * 3 + PART[k]) * C + c], one = g[(r * 9 + k) * C + c];
          by_last[(r * 3 + PART[k]) * C + c] += one * linear[(r * 9 + k) * C + c];
          by_linear[(r * 9 + k) * C + c] = one * x * logistic(x);
        }
    silu_back(last, atoms * 3 * C, by_last);
    embedding_mlp.back(before, by_last, atoms, by_input);
    embedding_linear.apply(by_linear, atoms, g, true);
    for (int r = 0; r < atoms; r++) {
      embedding_norm.back(normal + r * C, scale[r], by_input + r * C, by_norms);
      const Real *x = &embedded[(size_t) (first + r) * 9 * C];
      for (int k = 0; k < 9; k++)
        for (int c = 0; c < C; c++) g[(r * 9 + k) * C + c] += 2 * NORM[k] * by_norms[c] * x[k * C + c];
    }
  }

  // x / (|x|^2 + 1), channel by channel.
  void normalise(const Real *x, Real *y) const
  {
    for (int c = 0; c < C; c++) {
      Real square = 1;
      for (int k = 0; k < 9; k++) square += NORM[k] * x[k * C + c] * x[k * C + c];
      for (int k = 0; k < 9; k++) y[k * C + c] = x[k * C + c] / square;
    }
  }

  // The gradient by x of normalise(), in place of that by its result.
  void normalise_back(const Real *x, Real *gradient) const
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
    std::fill_n(z, 9 * C, Real(0));
    for (const Term &term : products)
      for (int c = 0; c < C; c++) z[term.to * C + c] += term.factor * x[term.a * C + c] * y[term.b * C + c];
  }

  // The gradient by X of X Y + Y X, from that by the result; added to what is there.
  void multiply_back(const Real *gradient, const Real *y, Real *x) const
  {
    for (const Term &term : products)
      for (int c = 0; c < C; c++) x[term.a * C + c] += term.factor * gradient[term.to * C + c] * y[term.b * C + c];
  }

  void interact(Layer &layer, const Neighbourhood &near, Exchange &exchange, Array &next)
  {
    for (int i = 0; i < near.own; i++) normalise(&layer.features[(size_t) i * 9 * C], &layer.sent[(size_t) i * 9 * C]);
    exchange.to_ghosts(layer.sent.data(), 9 * C);
    for (int i = 0; i < near.own; i++) receive(layer, near, i);
    for_blocks(near.own, [&](int first, int atoms) { mix(layer, first, atoms, next); });
  }

  void receive(Layer &layer, const Neighbourhood &near, int i) const
  {
    for (int c = 0; c < C; c += W) {
      Vector sums[9] = {};
      for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
        const Real *x = &layer.sent[(size_t) near.edges[e].sender * 9 * C + c];
        Vector factors[3];
        for (int part = 0; part < 3; part++) factors[part] = layer.filter.values(places[e], part * C + c, 3 * C);
        for (int k = 0; k < 9; k++) sums[k] += factors[PART[k]] * load<Real>(x + k * C);
      }
      for (int k = 0; k < 9; k++) store<Real>(sums[k], &layer.received[((size_t) i * 9 + k) * C + c]);
    }
  }

  void mix(Layer &layer, int first, int atoms, Array &next) const
  {
    const size_t at = (size_t) first * 9 * C;
    Real normal[BLOCK * 9 * C], square[9 * C];
    layer.before.apply(&layer.sent[at], atoms, &layer.before_mixed[at]);
    for (int r = 0; r < atoms; r++) {
      const size_t row = at + r * 9 * C;
      multiply(&layer.before_mixed[row], &layer.received[row], &layer.mixed[row]);
      normalise(&layer.mixed[row], normal + r * 9 * C);
    }
    layer.after.apply(normal, atoms, &layer.changes[at]);
    for (int r = 0; r < atoms; r++) {
      const size_t row = at + r * 9 * C;
      multiply(&layer.changes[row], &layer.changes[row], square);
      for (int c = 0; c < 9 * C; c++) next[row + c] = layer.sent[row + c] + layer.changes[row + c] + square[c] / 2;
    }
  }

  void energies_of_atoms(const Neighbourhood &near, int first, int atoms, double *energies)
  {
    Real norms[3 * C], input[BLOCK * 3 * C], normal[BLOCK * 3 * C], deviations[BLOCK], before[BLOCK * 2 * C], out[BLOCK];
    Real scale[BLOCK], by_input[BLOCK * 3 * C];
    for (int r = 0; r < atoms; r++) {
      squared_norms(&final_features[(size_t) (first + r) * 9 * C], norms);
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
      const size_t row = (size_t) (first + r) * 9 * C;
      for (int k = 0; k < 9; k++)
        for (int c = 0; c < C; c++) gradient[row + k * C + c] = 2 * NORM[k] * norms[PART[k] * C + c] * final_features[row + k * C + c];
    }
  }

  // From the gradient by what a layer gives to that by what it gets, and by the vectors of edges.
  void interact_back(Layer &layer, const Neighbourhood &near, Exchange &exchange, double *gradients)
  {
    by_sent.assign((size_t) near.rows * 9 * C, 0);
    for_blocks(near.own, [&](int first, int atoms) { mix_back(layer, near, first, atoms, gradients); });
    exchange.from_ghosts(by_sent.data(), 9 * C);
    for (int i = 0; i < near.own; i++) {
      Real *g = &gradient[(size_t) i * 9 * C];
      for (int c = 0; c < 9 * C; c++) g[c] += by_sent[(size_t) i * 9 * C + c];
      normalise_back(&layer.features[(size_t) i * 9 * C], g);
    }
  }

  void mix_back(const Layer &layer, const Neighbourhood &near, int first, int atoms, double *gradients)
  {
    const size_t at = (size_t) first * 9 * C;
    Real by_changes[BLOCK * 9 * C], by_mixed[BLOCK * 9 * C], by_before[BLOCK * 9 * C], by_received[9 * C], added[BLOCK * 9 * C];
    std::copy_n(&gradient[at], atoms * 9 * C, by_changes);
    for (int r = 0; r < atoms; r++)
      multiply_back(&gradient[at + r * 9 * C], &layer.changes[at + r * 9 * C], by_changes + r * 9 * C);
    layer.after.apply(by_changes, atoms, by_mixed, true);
    std::fill_n(by_before, atoms * 9 * C, Real(0));
    for (int r = 0; r < atoms; r++) {
      const size_t row = at + r * 9 * C;
      normalise_back(&layer.mixed[row], by_mixed + r * 9 * C);
      multiply_back(by_mixed + r * 9 * C, &layer.received[row], by_before + r * 9 * C);
      std::fill_n(by_received, 9 * C, Real(0));
      multiply_back(by_mixed + r * 9 * C, &layer.before_mixed[row], by_received);
      receive_back(layer, near, first + r, by_received, gradients);
    }
    layer.before.apply(by_before, atoms, added, true);
    for (int c = 0; c < atoms * 9 * C; c++) gradient[at + c] += added[c];
  }

  void receive_back(const Layer &layer, const Neighbourhood &near, int i, const Real *by_received, double *gradients)
  {
    for (size_t e = near.start[i]; e < near.start[i + 1]; e++) {
      const Edge &edge = near.edges[e];
      Vector by_distance = {};
      for (int c = 0; c < C; c += W) {
        const Real *x = &layer.sent[(size_t) edge.sender * 9 * C + c];
        Real *to = &by_sent[(size_t) edge.sender * 9 * C + c];
        for (int part = 0; part < 3; part++) {
          const Vector factor = layer.filter.values(places[e], part * C + c, 3 * C);
          Vector dot = {};
          for (int k = FIRST[part]; k < FIRST[part + 1]; k++) {
            const Vector g = load<Real>(by_received + k * C + c);
            dot += g * load<Real>(x + k * C);
            store<Real>(load<Real>(to + k * C) + factor * g, to + k * C);
          }
          by_distance += dot * layer.filter.slopes(places[e], part * C + c, 3 * C);
        }
      }
      const double slope = sum_of<Real>(by_distance);
      for (int k = 0; k < 3; k++) gradients[3 * e + k] += slope * edge.direction[k];
    }
  }
};

}    // namespace distill

#endif
