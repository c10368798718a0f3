// The file that `distill export --to lammps` writes: a few lines of text, then the numbers, with a checksum of both.
//
//   distill-lammps 1
//   <key> <value> ...            architecture, precision, cutoff, elements, ...
//   array <name> <n> <n> ...     for each array in the order of the numbers, with its shape
//   data <count> <crc32>         count of numbers; checksum of all lines before this one and of the numbers
//   <count numbers, float64, little endian>

#ifndef DISTILL_MODEL_FILE_H
#define DISTILL_MODEL_FILE_H

#include <cstdint>
#include <cstring>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace distill {

// What is wrong with a model file, for the user.
struct ModelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The checksum of zip files and of Python's zlib.crc32; `crc` is that of what came before.
inline uint32_t crc32(const char *bytes, size_t n, uint32_t crc = 0)
{
  static uint32_t table[256] = {0};
  if (!table[1])
    for (uint32_t k = 0; k < 256; k++) {
      uint32_t c = k;
      for (int bit = 0; bit < 8; bit++) c = (c >> 1) ^ (c & 1 ? 0xEDB88320u : 0u);
      table[k] = c;
    }
  crc = ~crc;
  for (size_t k = 0; k < n; k++) crc = table[(crc ^ (unsigned char) bytes[k]) & 255] ^ (crc >> 8);
  return ~crc;
}

class ModelFile {
 public:
  // Raises ModelError where the content is not what was written.
  explicit ModelFile(const std::string &content)
  {
    size_t at = 0, count = 0;
    std::vector<std::string> names;
    const std::string magic = "distill-lammps";
    if (content.compare(0, magic.size(), magic)) throw ModelError("it is no model file of `distill export --to lammps`");
    if (line(content, at) != magic + " 1") throw ModelError("it was written by another version of distill: export it again");
    for (size_t begin = at;; begin = at) {
      std::istringstream words(line(content, at));
      std::string key, name;
      words >> key;
      if (key == "data") {
        std::string sum;
        words >> count >> sum;
        check(content, begin, at, count, sum);
        break;
      }
      if (key == "array") {
        words >> name;
        names.push_back(name);
        for (int n; words >> n;) shapes[name].push_back(n);
      } else
        for (std::string word; words >> word;) settings[key].push_back(word);
    }
    size_t offset = 0;
    for (const auto &name : names) {
      size_t n = 1;
      for (int side : shapes[name]) n *= side;
      if (offset + n > count) throw ModelError("it is damaged: its arrays are longer than its numbers");
      arrays[name].resize(n);
      std::memcpy(arrays[name].data(), content.data() + at + 8 * offset, 8 * n);
      offset += n;
    }
  }

  bool has(const std::string &name) const { return arrays.count(name); }
  const std::vector<int> &shape(const std::string &name) const { return found(shapes, name); }
  const std::vector<std::string> &words(const std::string &key) const { return found(settings, key); }
  const std::string &word(const std::string &key) const { return words(key).at(0); }
  int integer(const std::string &key) const { return std::stoi(word(key)); }
  double number(const std::string &key) const { return std::stod(word(key)); }

  template <typename Real> std::vector<Real> values(const std::string &name) const
  {
    const auto &stored = found(arrays, name);
    return std::vector<Real>(stored.begin(), stored.end());
  }

 private:
  std::map<std::string, std::vector<std::string>> settings;
  std::map<std::string, std::vector<int>> shapes;
  std::map<std::string, std::vector<double>> arrays;

  static std::string line(const std::string &content, size_t &at)
  {
    const size_t end = content.find('\n', at);
    if (end == std::string::npos) throw ModelError("it is damaged: it ends too early");
    const std::string text = content.substr(at, end - at);
    at = end + 1;
    return text;
  }

  static void check(const std::string &content, size_t head, size_t data, size_t count, const std::string &sum)
  {
    if (content.size() - data != 8 * count) throw ModelError("it is damaged: its length is not what it says");
    const uint32_t crc = crc32(content.data() + data, 8 * count, crc32(content.data(), head));
    char text[9];
    snprintf(text, sizeof text, "%08x", (unsigned) crc);
    if (sum != text) throw ModelError("it is damaged: its checksum is not what it says");
  }

  template <typename Map> static const typename Map::mapped_type &found(const Map &map, const std::string &name)
  {
    const auto entry = map.find(name);
    if (entry == map.end()) throw ModelError("it lacks " + name);
    return entry->second;
  }
};

}    // namespace distill

#endif
