// Stand-in for mesos/slave/isolator.hpp of Mesos 1.10 and 1.11, written for the tests of Cleat; not Mesos's
// own header. See README.md of this folder.
#pragma once
#include <sys/types.h>

#include <vector>
#include <string>

#include <mesos/mesos.hpp>
#include <mesos/slave/containerizer.pb.h>

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
	virtual bool supportsNesting()
	{
		return false;
	}
	virtual bool supportsStandalone()
	{
		return false;
	}
	virtual process::Future<Nothing> recover(const std::vector<ContainerState> &,
						 const hashset<ContainerID> &)
	{
		return Nothing();
	}
	virtual process::Future<Option<ContainerLaunchInfo>> prepare(const ContainerID &,
								     const ContainerConfig &)
	{
		return Option<ContainerLaunchInfo>();
	}
	virtual process::Future<Nothing> isolate(const ContainerID &, pid_t)
	{
		return Nothing();
	}
	virtual process::Future<ContainerLimitation> watch(const ContainerID &)
	{
		return process::Future<ContainerLimitation>();
	}
	virtual process::Future<Nothing>
	update(const ContainerID &, const Resources &,
	       const google::protobuf::Map<std::string, Value::Scalar> & = {})
	{
		return Nothing();
	}
	virtual process::Future<ResourceStatistics> usage(const ContainerID &)
	{
		return ResourceStatistics();
	}
	virtual process::Future<ContainerStatus> status(const ContainerID &)
	{
		return ContainerStatus();
	}
	virtual process::Future<Nothing> cleanup(const ContainerID &)
	{
		return Nothing();
	}
};
} // namespace slave
} // namespace mesos
