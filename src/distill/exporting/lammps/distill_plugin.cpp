// Makes the pair style a plugin: a library that LAMMPS loads from LAMMPS_PLUGIN_PATH or by `plugin load`.

#include "lammps.h"
#include "pair_distill.h"

// The interface of LAMMPS' package PLUGIN (lammpsplugin.h), whose header is not installed with the library.
extern "C" {
typedef void *(*lammpsplugin_factory1)(void *);
typedef void *(*lammpsplugin_factory2)(void *, int, char **);

struct lammpsplugin_t {
  const char *version, *style, *name, *info, *author;
  union {
    lammpsplugin_factory1 v1;
    lammpsplugin_factory2 v2;
  } creator;
  void *handle;
};

typedef void (*lammpsplugin_regfunc)(lammpsplugin_t *, void *);

void lammpsplugin_init(void *lmp, void *handle, void *registered)
{
  lammpsplugin_t plugin;
  plugin.version = static_cast<LAMMPS_NS::LAMMPS *>(lmp)->version;
  plugin.style = "pair";
  plugin.name = "distill";
  plugin.info = "students of distill: pair_style distill";
  plugin.author = "distill";
  plugin.creator.v1 = [](void *lammps) -> void * {
    return static_cast<LAMMPS_NS::Pair *>(new LAMMPS_NS::PairDistill(static_cast<LAMMPS_NS::LAMMPS *>(lammps)));
  };
  plugin.handle = handle;
  reinterpret_cast<lammpsplugin_regfunc>(registered)(&plugin, lmp);
}
}
