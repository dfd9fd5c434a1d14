// Stand-in for mesos/slave/isolator.hpp of Mesos 0.23, written for the tests of Cleat; not Mesos's own
// header. See README.md of this folder.
#pragma once
#include <sys/types.h>

#include <list>
#include <string>

#include <mesos/mesos.hpp>

#include <process/future.hpp>
#include <process/owned.hpp>
#include <process/process.hpp>

#include <stout/hashset.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>

namespace mesos
{
namespace slave
{
struct Limitation {
	Limitation(const Resources &r, const std::string &text) : resources(r), message(text)
	{
	}
	Resources resources;
	std::string message;
};

struct ExecutorRunState {
	ExecutorRunState(ContainerID containerId, pid_t first, std::string sandbox)
	    : id(containerId), pid(first), directory(sandbox)
	{
	}
	ContainerID id;
	pid_t pid;
	std::string directory;
};

class IsolatorProcess : public process::Process<IsolatorProcess>
{
      public:
	virtual ~IsolatorProcess()
	{
	}
	virtual process::Future<Option<int>> namespaces()
	{
		return Option<int>();
	}
	virtual process::Future<Nothing> recover(const std::list<ExecutorRunState> &,
						 const hashset<ContainerID> &) = 0;
	virtual process::Future<Option<CommandInfo>> prepare(const ContainerID &, const ExecutorInfo &,
							     const std::string &, const Option<std::string> &,
							     const Option<std::string> &) = 0;
	virtual process::Future<Nothing> isolate(const ContainerID &, pid_t) = 0;
	virtual process::Future<Limitation> watch(const ContainerID &) = 0;
	virtual process::Future<Nothing> update(const ContainerID &, const Resources &) = 0;
	virtual process::Future<ResourceStatistics> usage(const ContainerID &) = 0;
	virtual process::Future<Nothing> cleanup(const ContainerID &) = 0;
};

// Of the agent: a wrapper that runs the process above as an actor.
class Isolator
{
      public:
	explicit Isolator(process::Owned<IsolatorProcess> process);
	~Isolator();
	process::Future<Option<int>> namespaces();
	process::Future<Nothing> recover(const std::list<ExecutorRunState> &, const hashset<ContainerID> &);
	process::Future<Option<CommandInfo>> prepare(const ContainerID &, const ExecutorInfo &,
						     const std::string &, const Option<std::string> &,
						     const Option<std::string> &);
	process::Future<Nothing> isolate(const ContainerID &, pid_t);
	process::Future<Limitation> watch(const ContainerID &);
	process::Future<Nothing> update(const ContainerID &, const Resources &);
	process::Future<ResourceStatistics> usage(const ContainerID &) const;
	process::Future<Nothing> cleanup(const ContainerID &);

      private:
	Isolator(const Isolator &);
	Isolator &operator=(const Isolator &);

	process::Owned<IsolatorProcess> process;
};
} // namespace slave
} // namespace mesos
