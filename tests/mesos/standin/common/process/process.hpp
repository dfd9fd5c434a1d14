// Stand-in written for the tests of Cleat; not the header of Mesos.  See README.md of this folder.
#pragma once
#include <string>

namespace process
{
// Of the agent: a module of 0.23 refers to it.
class ProcessBase
{
      public:
	explicit ProcessBase(const std::string &id = "");
	virtual ~ProcessBase();
};

template <typename T> class Process : public virtual ProcessBase
{
};
} // namespace process
