// Stand-in for mesos/slave/isolator.hpp of Mesos 0.24, written for the tests of Cleat; not Mesos's own
// header. See README.md of this folder.
#pragma once
#include <sys/types.h>

#include <list>
#include <string>

#include <mesos/mesos.hpp>
#include <mesos/slave/isolator.pb.h>

#include <process/future.hpp>
#include <process/owned.hpp>

#include <stout/hashset.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>

namespace mesos
{
namespace slave
{
class Isolator
{
      public:
	virtual ~Isolator()
	{
	}
	virtual process::Future<Option<int>> namespaces()
	{
		return Option<int>();
	}
	virtual process::Future<Nothing> recover(const std::list<ContainerState> &,
						 const hashset<ContainerID> &) = 0;
	virtual process::Future<Option<ContainerPrepareInfo>> prepare(const ContainerID &,
								      const ExecutorInfo &,
								      const std::string &,
								      const Option<std::string> &) = 0;
	virtual process::Future<Nothing> isolate(const ContainerID &, pid_t) = 0;
	virtual process::Future<ContainerLimitation> watch(const ContainerID &) = 0;
	virtual process::Future<Nothing> update(const ContainerID &, const Resources &) = 0;
	virtual process::Future<ResourceStatistics> usage(const ContainerID &) = 0;
	virtual process::Future<Nothing> cleanup(const ContainerID &) = 0;
};
} // namespace slave
} // namespace mesos
