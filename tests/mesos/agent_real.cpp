// libprocess.cpp - for an agent that is built against real headers and has no libmesos: the few functions of
// libprocess that the headers' own inline code refers to.  No actor ever runs here, and nothing waits.
#include <string>

#include <mesos/mesos.hpp>
#include <mesos/type_utils.hpp>

#include <process/future.hpp>
#include <process/latch.hpp>
#include <process/process.hpp>

namespace process
{
Latch::Latch() : triggered(false)
{
}
Latch::~Latch()
{
}
bool Latch::trigger()
{
	const bool before = triggered;
	triggered = true;
	return !before;
}
bool Latch::await(const Duration &)
{
	return triggered;
}

#if CLEAT_MESOS_VERSION < 2400
ProcessBase::ProcessBase(const std::string &) : state(BOTTOM), refs(0)
{
}
ProcessBase::~ProcessBase()
{
}
void ProcessBase::visit(const MessageEvent &)
{
}
void ProcessBase::visit(const DispatchEvent &)
{
}
void ProcessBase::visit(const HttpEvent &)
{
}
void ProcessBase::visit(const ExitedEvent &)
{
}
void ProcessBase::visit(const TerminateEvent &)
{
}
#endif
} // namespace process

#if CLEAT_MESOS_VERSION >= 10100
namespace mesos
{
bool operator==(const ContainerID &a, const ContainerID &b)
{
	return a.SerializeAsString() == b.SerializeAsString();
}
} // namespace mesos
#endif
