// isolator.cpp - Mesos's isolator interface around the module: it translates and decides nothing.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "compat/mesos.hpp"

namespace
{

typedef process::Promise<Nothing> NothingPromise;
typedef process::Promise<Option<compat::LaunchInfo>> LaunchPromise;

void prepared(void *arg, const cleat_mesos_answer *answer)
{
	std::unique_ptr<LaunchPromise> promise(static_cast<LaunchPromise *>(arg));
	if (answer->error != nullptr)
		promise->fail(answer->error);
	else
		promise->set(compat::launch(*answer));
}

void finished(void *arg, const cleat_mesos_answer *answer)
{
	std::unique_ptr<NothingPromise> promise(static_cast<NothingPromise *>(arg));
	if (answer->error != nullptr)
		promise->fail(answer->error);
	else
		promise->set(Nothing());
}

// The future of what `call` begins; its callback gets the promise, and deletes it.
template <typename T, typename Call> process::Future<T> begin(Call call)
{
	process::Promise<T> *promise = new process::Promise<T>();
	process::Future<T> future = promise->future();
	call(promise);
	return future;
}

class VolumeIsolator : public compat::Defaults
{
      public:
	explicit VolumeIsolator(cleat_mesos *_module) : module(_module)
	{
	}

	VolumeIsolator(const VolumeIsolator &) = delete;
	VolumeIsolator &operator=(const VolumeIsolator &) = delete;

	~VolumeIsolator() override
	{
		cleat_mesos_free(module);
	}

	process::Future<Nothing> recover(const compat::States &states,
					 const hashset<mesos::ContainerID> &orphans) override
	{
		std::vector<cleat_mesos_request *> alive;
		for (const compat::States::value_type &state : states)
			alive.push_back(compat::describe(compat::idOf(state)));
		for (const mesos::ContainerID &id : orphans) { // cleaned up by the agent later
			alive.push_back(compat::describe(id));
		}
		return begin<Nothing>([&](void *promise) {
			cleat_mesos_recover(module, alive.data(), alive.size(), finished, promise);
		});
	}

	process::Future<Option<compat::LaunchInfo>> prepare(CLEAT_PREPARE_ARGUMENTS) override
	{
		return begin<Option<compat::LaunchInfo>>([&](void *promise) {
			cleat_mesos_prepare(module, CLEAT_DESCRIBE, prepared, promise);
		});
	}

	process::Future<Nothing> isolate(const mesos::ContainerID &id, pid_t pid) override
	{
		cleat_mesos_isolate(module, compat::describe(id), pid);
		return Nothing();
	}

	process::Future<Nothing> cleanup(const mesos::ContainerID &id) override
	{
		return begin<Nothing>([&](void *promise) {
			cleat_mesos_cleanup(module, compat::describe(id), finished, promise);
		});
	}

      private:
	cleat_mesos *module; // owned
};

// NULL ends the agent, so what is wrong is said first.
mesos::slave::Isolator *create(const mesos::Parameters &parameters)
{
	std::vector<cleat_mesos_parameter> given;
	for (int i = 0; i < parameters.parameter_size(); i++) {
		const cleat_mesos_parameter one = { parameters.parameter(i).key().c_str(),
						    parameters.parameter(i).value().c_str(), nullptr };
		given.push_back(one);
	}
	cleat_mesos *module = nullptr;
	cleat_error error = CLEAT_ERROR_INIT;
	if (cleat_mesos_new(given.data(), given.size(), MESOS_VERSION, &module, &error) != CLEAT_OK) {
		std::fprintf(stderr, "cleat-mesos: %s\n", error.msg);
		return nullptr;
	}
	return compat::wrap(new VolumeIsolator(module));
}

} // namespace

// The module's name in the agent's manifest.  Mesos admits it only into the very release that it was built
// for.
extern __attribute__((visibility("default"))) mesos::modules::Module<mesos::slave::Isolator>
	org_cleat_VolumeIsolator;

mesos::modules::Module<mesos::slave::Isolator>
	org_cleat_VolumeIsolator(MESOS_MODULE_API_VERSION, MESOS_VERSION, "Cleat", "",
				 "Volumes of the Cleat daemon for containers.", nullptr, create);
