// Stand-in written for the tests of Cleat; not the header of Mesos.  See README.md of this folder.
#pragma once
#include <mesos/mesos.hpp>
#include <mesos/slave/isolator.hpp>
#include <mesos/version.hpp>

#define MESOS_MODULE_API_VERSION "2"

namespace mesos
{
namespace modules
{
struct ModuleBase {
	const char *moduleApiVersion, *mesosVersion, *kind;
	const char *authorName, *authorEmail, *description;
	bool (*compatible)();
};

template <typename T> struct Module;

template <> struct Module<mesos::slave::Isolator> : ModuleBase {
	typedef mesos::slave::Isolator *(*Create)(const Parameters &);

	Module(const char *api, const char *version, const char *author, const char *email, const char *text,
	       bool (*isCompatible)(), Create make)
	    : ModuleBase{ api, version, "Isolator", author, email, text, isCompatible }, create(make)
	{
	}

	Create create;
};
} // namespace modules
} // namespace mesos
