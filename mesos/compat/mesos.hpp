// mesos.hpp - everything in which the releases of Mesos differ, from 0.23 to 1.11 and later; the only file
// that asks for the version.  The adaptor in isolator.cpp is written once, in the words that are defined
// here.
//
// Every method that overrides one of Mesos's says so: from 1.0 on all of them have bodies, and one whose
// signature no longer fits would be passed over in silence.
#ifndef CLEAT_MESOS_COMPAT_HPP
#define CLEAT_MESOS_COMPAT_HPP

#include <sched.h>

#include <list>
#include <string>
#include <vector>

#include <mesos/mesos.hpp>
#include <mesos/module/isolator.hpp>
#include <mesos/slave/isolator.hpp>
#include <mesos/version.hpp>

#include <process/future.hpp>
#include <process/owned.hpp>

#include <stout/hashset.hpp>
#include <stout/none.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>

#include "module/module.h"

// major * 10000 + minor * 100 + patch.  Before 0.28 the header has texts only: the build gives the number.
#ifndef CLEAT_MESOS_VERSION
#define CLEAT_MESOS_VERSION                                                                                  \
	(MESOS_MAJOR_VERSION_NUM * 10000 + MESOS_MINOR_VERSION_NUM * 100 + MESOS_PATCH_VERSION_NUM)
#endif
#if CLEAT_MESOS_VERSION < 2300
#error "Mesos before 0.23 is not supported"
#endif

namespace compat
{

// ---- types ----

#if CLEAT_MESOS_VERSION < 2400
typedef mesos::slave::IsolatorProcess Base; // an actor, wrapped by a concrete Isolator
typedef std::list<mesos::slave::ExecutorRunState> States;
typedef mesos::CommandInfo LaunchInfo;
typedef mesos::slave::Limitation Limitation;
#else
typedef mesos::slave::Isolator Base;
typedef mesos::slave::ContainerLimitation Limitation;
#if CLEAT_MESOS_VERSION < 2700
typedef mesos::slave::ContainerPrepareInfo LaunchInfo;
#else
typedef mesos::slave::ContainerLaunchInfo LaunchInfo;
#endif
#if CLEAT_MESOS_VERSION < 10700
typedef std::list<mesos::slave::ContainerState> States;
#else
typedef std::vector<mesos::slave::ContainerState> States;
#endif
#endif

// ---- the methods in which the module has no part ----

class Defaults : public Base
{
      public:
#if CLEAT_MESOS_VERSION < 2500
	// Asked once, for all containers.
	process::Future<Option<int>> namespaces() override
	{
		return Option<int>(CLONE_NEWNS);
	}
#endif

#if CLEAT_MESOS_VERSION < 10000
	process::Future<Limitation> watch(const mesos::ContainerID &) override
	{
		return process::Future<Limitation>();
	}

	process::Future<Nothing> update(const mesos::ContainerID &, const mesos::Resources &) override
	{
		return Nothing();
	}

	process::Future<mesos::ResourceStatistics> usage(const mesos::ContainerID &) override
	{
		return mesos::ResourceStatistics();
	}
#endif

#if CLEAT_MESOS_VERSION >= 10100
	// Whoever says no is passed over in silence.
	bool supportsNesting() override
	{
		return true;
	}
#endif

#if CLEAT_MESOS_VERSION >= 10500
	bool supportsStandalone() override
	{
		return true;
	}
#endif
};

// What create() returns.
inline mesos::slave::Isolator *wrap(Base *isolator)
{
#if CLEAT_MESOS_VERSION < 2400
	return new mesos::slave::Isolator(process::Owned<mesos::slave::IsolatorProcess>(isolator));
#else
	return isolator;
#endif
}

// ---- from Mesos's words to the module's ----

inline cleat_mesos_text text(const std::string &from)
{
	const cleat_mesos_text to = { from.data(), from.size() };
	return to;
}

// The outermost container first.
inline void addIds(cleat_mesos_request *request, const mesos::ContainerID &id)
{
#if CLEAT_MESOS_VERSION >= 10100
	if (id.has_parent())
		addIds(request, id.parent());
#endif
	cleat_mesos_request_id(request, text(id.value()));
}

inline cleat_mesos_request *describe(const mesos::ContainerID &id)
{
	cleat_mesos_request *request = cleat_mesos_request_new();
	addIds(request, id);
	return request;
}

inline const mesos::ContainerID &idOf(const States::value_type &state)
{
#if CLEAT_MESOS_VERSION < 2400
	return state.id;
#else
	return state.container_id();
#endif
}

// A variable that is a secret has no value.
inline void addEnvironment(cleat_mesos_request *request, const mesos::CommandInfo &command)
{
	for (int i = 0; i < command.environment().variables_size(); i++) {
		const mesos::Environment::Variable &variable = command.environment().variables(i);
		cleat_mesos_request_variable(request, text(variable.name()), text(variable.value()));
	}
}

#if CLEAT_MESOS_VERSION >= 10000
inline void addVolumes(cleat_mesos_request *request, const mesos::ContainerInfo &container)
{
	for (int i = 0; i < container.volumes_size(); i++) {
		const mesos::Volume &volume = container.volumes(i);
		const mesos::Volume::Source::DockerVolume &docker = volume.source().docker_volume();
		if (!volume.has_source() || volume.source().type() != mesos::Volume::Source::DOCKER_VOLUME)
			continue;
		cleat_mesos_request_volume(request, text(docker.driver()), text(docker.name()),
					   text(volume.container_path()), volume.mode() == mesos::Volume::RO);
		for (int k = 0; k < docker.driver_options().parameter_size(); k++) {
			const mesos::Parameter &option = docker.driver_options().parameter(k);
			cleat_mesos_request_option(request, text(option.key()), text(option.value()));
		}
	}
}
#endif

// The arguments of prepare(), and the request that they make.
#if CLEAT_MESOS_VERSION < 2400
#define CLEAT_PREPARE_ARGUMENTS                                                                              \
	const mesos::ContainerID &id, const mesos::ExecutorInfo &executor, const std::string &directory,     \
		const Option<std::string> &rootfs, const Option<std::string> &user
#define CLEAT_DESCRIBE compat::describe(id, executor, directory, user, rootfs)
#elif CLEAT_MESOS_VERSION < 2700 // only the filesystem isolator knows the rootfs
#define CLEAT_PREPARE_ARGUMENTS                                                                              \
	const mesos::ContainerID &id, const mesos::ExecutorInfo &executor, const std::string &directory,     \
		const Option<std::string> &user
#define CLEAT_DESCRIBE compat::describe(id, executor, directory, user, None())
#else
#define CLEAT_PREPARE_ARGUMENTS const mesos::ContainerID &id, const mesos::slave::ContainerConfig &config
#define CLEAT_DESCRIBE compat::describe(id, config)
#endif

#if CLEAT_MESOS_VERSION < 2700
inline cleat_mesos_request *describe(const mesos::ContainerID &id, const mesos::ExecutorInfo &executor,
				     const std::string &directory, const Option<std::string> &user,
				     const Option<std::string> &rootfs)
{
	cleat_mesos_request *request = describe(id);
	cleat_mesos_request_sandbox(request, text(directory));
	if (rootfs.isSome())
		cleat_mesos_request_rootfs(request, text(rootfs.get()));
#if CLEAT_MESOS_VERSION >= 2400
	if (executor.container().mesos().has_image())
		cleat_mesos_request_hidden_rootfs(request);
#endif
	if (user.isSome())
		cleat_mesos_request_user(request, text(user.get()));
	addEnvironment(request, executor.command());
	return request;
}
#else
inline cleat_mesos_request *describe(const mesos::ContainerID &id,
				     const mesos::slave::ContainerConfig &config)
{
	cleat_mesos_request *request = describe(id);
	cleat_mesos_request_sandbox(request, text(config.directory()));
	cleat_mesos_request_rootfs(request, text(config.rootfs())); // empty: none
	cleat_mesos_request_user(request, text(config.user()));
#if CLEAT_MESOS_VERSION < 2800
	addEnvironment(request, config.executorinfo().command());
#elif CLEAT_MESOS_VERSION < 10100
	addEnvironment(request, config.executor_info().command());
#else
	addEnvironment(request, config.command_info());
#endif
#if CLEAT_MESOS_VERSION >= 10100
	addVolumes(request, config.container_info());
#elif CLEAT_MESOS_VERSION >= 10000
	addVolumes(request, config.executor_info().container());
#endif
#if CLEAT_MESOS_VERSION >= 10200
	if (config.has_container_class() && config.container_class() == mesos::slave::ContainerClass::DEBUG)
		cleat_mesos_request_debug(request);
#endif
	return request;
}
#endif

// ---- and back ----

// The command must run in every release before the root is changed, so it is a command and not, from 1.5 on,
// a mount: a mount follows the links that a task may have put at its target meanwhile.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" // pre_exec_commands, from 1.9 on
inline Option<LaunchInfo> launch(const cleat_mesos_answer &answer)
{
	if (answer.argc == 0)
		return None();
	LaunchInfo info;
#if CLEAT_MESOS_VERSION < 2400
	info.set_value(answer.shell);
#elif CLEAT_MESOS_VERSION < 10000
	info.add_commands()->set_value(answer.shell);
#else
	mesos::CommandInfo *command = info.add_pre_exec_commands();
	command->set_shell(false);
	command->set_value(answer.argv[0]);
	for (size_t i = 0; i < answer.argc; i++)
		command->add_arguments(answer.argv[i]);
#endif
#if CLEAT_MESOS_VERSION >= 10200
	info.add_clone_namespaces(CLONE_NEWNS);
#elif CLEAT_MESOS_VERSION >= 2500
	info.set_namespaces(CLONE_NEWNS);
#endif
	return info;
}
#pragma GCC diagnostic pop

} // namespace compat

#endif
