// agent.cpp - plays the agent of one release of Mesos: loads an isolator module as it does, calls it as it
// does, and launches containers with what the module answered.  A test tells it what to do, one line each on
// stdin, fields between tabs; every answer is a line "TAG ok ..." or "TAG error TEXT" on stdout.
//
//   TAG load PATH [KEY=VALUE]...            the loader's checks, then create()
//   TAG recover [+ID]... [-ID]...           living containers, orphans
//   TAG prepare ID [KEY=VALUE]...           sandbox, rootfs, image, user, env (NAME=VALUE), volume
//   (DRIVER:NAME:PATH:rw|ro), opt, debug TAG launch ID OUTPUT COMMAND            fork, isolate, then what
//   that release's launch helper does; "TAG ok PID", and "TAG exit N" TAG cleanup ID TAG rest ID what the
//   module has no part in: update, usage, watch, status TAG delete                              the isolator
//
// An ID is a chain, the outermost first: "a/b/c".  Built once for each generation of the interface, against
// stand-in headers or real ones.
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <mesos/mesos.hpp>
#include <mesos/module/isolator.hpp>
#include <mesos/slave/isolator.hpp>
#include <mesos/version.hpp>

#define V CLEAT_MESOS_VERSION

extern char **environ;

typedef std::vector<std::string> Words;
typedef mesos::modules::Module<mesos::slave::Isolator> VolumeModule;
#if V < 2400
typedef mesos::CommandInfo LaunchInfo;
typedef std::list<mesos::slave::ExecutorRunState> States;
#elif V < 2700
typedef mesos::slave::ContainerPrepareInfo LaunchInfo;
#else
typedef mesos::slave::ContainerLaunchInfo LaunchInfo;
#endif
#if V >= 2400 && V < 10700
typedef std::list<mesos::slave::ContainerState> States;
#elif V >= 10700
typedef std::vector<mesos::slave::ContainerState> States;
#endif

#if V < 2400 && !defined(CLEAT_REAL_HEADERS)
// What the agent has and a module of 0.23 refers to.  The real one runs the process as an actor; here its
// methods are called.
namespace process
{
ProcessBase::ProcessBase(const std::string &)
{
}
ProcessBase::~ProcessBase()
{
}
} // namespace process
#endif
#if V < 2400
namespace mesos
{
namespace slave
{
Isolator::Isolator(process::Owned<IsolatorProcess> p) : process(p)
{
}
Isolator::~Isolator()
{
}
process::Future<Option<int>> Isolator::namespaces()
{
	return process->namespaces();
}
process::Future<Nothing> Isolator::recover(const std::list<ExecutorRunState> &states,
					   const hashset<ContainerID> &orphans)
{
	return process->recover(states, orphans);
}
process::Future<Option<CommandInfo>> Isolator::prepare(const ContainerID &id, const ExecutorInfo &executor,
						       const std::string &directory,
						       const Option<std::string> &rootfs,
						       const Option<std::string> &user)
{
	return process->prepare(id, executor, directory, rootfs, user);
}
process::Future<Nothing> Isolator::isolate(const ContainerID &id, pid_t pid)
{
	return process->isolate(id, pid);
}
process::Future<Limitation> Isolator::watch(const ContainerID &id)
{
	return process->watch(id);
}
process::Future<Nothing> Isolator::update(const ContainerID &id, const Resources &resources)
{
	return process->update(id, resources);
}
process::Future<ResourceStatistics> Isolator::usage(const ContainerID &id) const
{
	return process.get()->usage(id);
}
process::Future<Nothing> Isolator::cleanup(const ContainerID &id)
{
	return process->cleanup(id);
}
} // namespace slave
} // namespace mesos
#endif

// ---- talking to the test ----

static std::mutex outLock;

static void say(const std::string &tag, const std::string &text)
{
	std::lock_guard<std::mutex> lock(outLock);
	std::cout << tag << " " << text << std::endl;
}

template <typename T> static void sayEnd(const std::string &tag, const process::Future<T> &future)
{
	say(tag, future.isReady()    ? "ok"
		 : future.isFailed() ? "error " + future.failure()
				     : "error neither ready nor failed");
}

static Words split(const std::string &text, char separator)
{
	std::istringstream in(text);
	Words out;
	for (std::string word; std::getline(in, word, separator);)
		out.push_back(word);
	return out;
}

// ---- messages ----

static mesos::ContainerID makeId(const std::string &chain)
{
	mesos::ContainerID id;
	for (const std::string &part : split(chain, '/')) {
		mesos::ContainerID inner;
		inner.set_value(part);
#if V >= 10100
		if (id.has_value())
			*inner.mutable_parent() = id;
#endif
		id = inner;
	}
	return id;
}

// One container as the test describes it.
struct Description {
	std::map<std::string, std::string> one;
	Words env, volumes, opts;

	explicit Description(const Words &words, size_t from)
	{
		for (size_t i = from; i < words.size(); i++) {
			const std::string key = words[i].substr(0, words[i].find('='));
			const std::string value = words[i].substr(key.size() + 1);
			if (key == "env")
				env.push_back(value);
			else if (key == "volume")
				volumes.push_back(value);
			else if (key == "opt")
				opts.push_back(value);
			else
				one[key] = value;
		}
	}
};

static void fillCommand(const Description &d, mesos::CommandInfo *command)
{
	command->set_value("true");
	for (const std::string &entry : d.env) {
		mesos::Environment::Variable *variable = command->mutable_environment()->add_variables();
		variable->set_name(entry.substr(0, entry.find('=')));
		variable->set_value(entry.substr(entry.find('=') + 1));
	}
}

static void fillContainer(const Description &d, mesos::ContainerInfo *container)
{
	(void)d; // 0.23 takes nothing of it
	container->set_type(mesos::ContainerInfo::MESOS);
#if V >= 2400 && !defined(CLEAT_REAL_HEADERS) && !defined(CLEAT_REAL_MESSAGES)
	if (d.one.count("image"))
		container->mutable_mesos()->mutable_image()->set_name(d.one.at("image"));
#elif V >= 2400
	if (d.one.count("image")) {
		container->mutable_mesos()->mutable_image()->set_type(mesos::Image::APPC);
		container->mutable_mesos()->mutable_image()->mutable_appc()->set_name(d.one.at("image"));
	}
#endif
#if V >= 10000
	for (const std::string &entry : d.volumes) {
		const Words part = split(entry, ':');
		mesos::Volume *volume = container->add_volumes();
		volume->set_container_path(part[2]);
		volume->set_mode(part[3] == "ro" ? mesos::Volume::RO : mesos::Volume::RW);
		volume->mutable_source()->set_type(mesos::Volume::Source::DOCKER_VOLUME);
		mesos::Volume::Source::DockerVolume *docker =
			volume->mutable_source()->mutable_docker_volume();
		docker->set_driver(part[0]);
		docker->set_name(part[1]);
		for (const std::string &opt : d.opts) {
			mesos::Parameter *parameter = docker->mutable_driver_options()->add_parameter();
			parameter->set_key(opt.substr(0, opt.find('=')));
			parameter->set_value(opt.substr(opt.find('=') + 1));
		}
	}
#endif
}

[[gnu::unused]] static void fillExecutor(const Description &d, mesos::ExecutorInfo *executor)
{
	executor->mutable_executor_id()->set_value("executor");
	fillCommand(d, executor->mutable_command());
	fillContainer(d, executor->mutable_container());
}

[[gnu::unused]] static Option<std::string> optional(const Description &d, const std::string &key)
{
	return d.one.count(key) ? Option<std::string>(d.one.at(key)) : Option<std::string>(None());
}

#if V >= 2700
static mesos::slave::ContainerConfig makeConfig(const Description &d)
{
	mesos::slave::ContainerConfig config;
#if V < 2800
	fillExecutor(d, config.mutable_executorinfo());
#elif V < 10000
	fillExecutor(d, config.mutable_executorinfo());
	fillExecutor(d, config.mutable_executor_info());
#elif V < 10100
	fillExecutor(d, config.mutable_executor_info());
#else // nested and standalone containers have no executor
	fillCommand(d, config.mutable_command_info());
	fillContainer(d, config.mutable_container_info());
#endif
	config.set_directory(d.one.count("sandbox") ? d.one.at("sandbox") : "");
	if (d.one.count("rootfs"))
		config.set_rootfs(d.one.at("rootfs"));
	if (d.one.count("user"))
		config.set_user(d.one.at("user"));
#if V >= 10200
	if (d.one.count("debug"))
		config.set_container_class(mesos::slave::ContainerClass::DEBUG);
#endif
	return config;
}
#endif

// ---- the agent ----

struct Container {
	Description description = Description(Words(), 0);
	Option<LaunchInfo> info;
};

static mesos::slave::Isolator *isolator = nullptr;
static bool alwaysNamespace = false; // 0.23 and 0.24: asked once, holds for every container
static std::mutex containersLock;
static std::map<std::string, Container> containers;

// What the agent's module manager refuses.
static std::string findFault(const VolumeModule *module)
{
	if (strcmp(module->moduleApiVersion, MESOS_MODULE_API_VERSION) != 0)
		return "module API version";
	if (strcmp(module->kind, "Isolator") != 0)
		return "kind";
	if (strcmp(module->mesosVersion, getenv("AGENT_VERSION")) != 0)
		return std::string("module of Mesos ") + module->mesosVersion + " in an agent of " +
		       getenv("AGENT_VERSION");
	if (!*module->authorName || !*module->description)
		return "nobody's module";
	return "";
}

static void load(const Words &words)
{
	void *library = dlopen(words[2].c_str(), RTLD_NOW); // local, and never closed, as Mesos does
	const VolumeModule *module =
		library ? static_cast<const VolumeModule *>(dlsym(library, "org_cleat_VolumeIsolator"))
			: nullptr;
	if (module == nullptr)
		return say(words[0], std::string("error ") + dlerror());
	const std::string fault = findFault(module);
	if (!fault.empty())
		return say(words[0], "error " + fault);
	mesos::Parameters parameters;
	for (size_t i = 3; i < words.size(); i++) {
		mesos::Parameter *parameter = parameters.add_parameter();
		parameter->set_key(words[i].substr(0, words[i].find('=')));
		parameter->set_value(words[i].substr(words[i].find('=') + 1));
	}
	isolator = module->create(parameters);
	if (isolator == nullptr)
		return say(words[0], "error create() gave nothing");
#if V < 2500
	const Option<int> asked = isolator->namespaces().get();
	alwaysNamespace = asked.isSome() && (asked.get() & CLONE_NEWNS);
#endif
#if V >= 10100
	if (!isolator->supportsNesting())
		return say(words[0], "error nested containers would pass it by");
#endif
#if V >= 10500
	if (!isolator->supportsStandalone())
		return say(words[0], "error standalone containers would pass it by");
#endif
	say(words[0], "ok");
}

static void recover(const Words &words)
{
	States states;
	hashset<mesos::ContainerID> orphans;
	for (size_t i = 2; i < words.size(); i++) {
		const mesos::ContainerID id = makeId(words[i].substr(1));
		if (words[i][0] == '-') {
			orphans.insert(id);
			continue;
		}
#if V < 2400
		states.push_back(mesos::slave::ExecutorRunState(id, 1, "/"));
#else
		mesos::slave::ContainerState state;
		*state.mutable_container_id() = id;
		state.set_pid(1);
		state.set_directory("/");
		states.push_back(state);
#endif
	}
	const std::string tag = words[0];
	isolator->recover(states, orphans).onAny([tag](const process::Future<Nothing> &f) {
		sayEnd(tag, f);
	});
}

static void prepared(const std::string &tag, const std::string &id,
		     const process::Future<Option<LaunchInfo>> &future)
{
	if (future.isReady()) {
		std::lock_guard<std::mutex> lock(containersLock);
		containers[id].info = future.get();
	}
	if (future.isReady() && future.get().isNone())
		say(tag, "ok none");
	else
		sayEnd(tag, future);
}

static void prepare(const Words &words)
{
	const std::string tag = words[0], name = words[2];
	const Description d(words, 3);
	{
		std::lock_guard<std::mutex> lock(containersLock);
		containers[name].description = d;
	}
	const auto done = [tag, name](const process::Future<Option<LaunchInfo>> &f) {
		prepared(tag, name, f);
	};
#if V < 2700
	mesos::ExecutorInfo executor;
	fillExecutor(d, &executor);
#endif
#if V < 2400
	isolator->prepare(makeId(name), executor, d.one.at("sandbox"), optional(d, "rootfs"),
			  optional(d, "user"))
		.onAny(done);
#elif V < 2700
	isolator->prepare(makeId(name), executor, d.one.at("sandbox"), optional(d, "user")).onAny(done);
#else
	isolator->prepare(makeId(name), makeConfig(d)).onAny(done);
#endif
}

static void cleanup(const Words &words)
{
	const std::string tag = words[0];
	isolator->cleanup(makeId(words[2])).onAny([tag](const process::Future<Nothing> &f) {
		sayEnd(tag, f);
	});
}

static void rest(const Words &words)
{
	const mesos::ContainerID id = makeId(words[2]);
	bool good = isolator->update(id, mesos::Resources()).isReady() && isolator->usage(id).isReady() &&
		    isolator->watch(id).isPending();
#if V >= 2800
	good = good && isolator->status(id).isReady();
#endif
	say(words[0], good ? "ok" : "error an answer is not what is expected");
}

// ---- launching ----

static void addCommand(Words *out, const mesos::CommandInfo &command)
{
	if (command.shell()) {
		out->push_back("--shell");
		out->push_back(command.value());
		return;
	}
	out->push_back("--argv");
	out->push_back(std::to_string(command.arguments_size() + 1));
	out->push_back(command.value());
	for (int i = 0; i < command.arguments_size(); i++)
		out->push_back(command.arguments(i));
}

// What the launch helper is told.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static Words makeLaunch(const Container &c)
{
	Words out = { "/proc/self/exe", "--launch" };
	bool ns = alwaysNamespace;
	if (c.info.isSome()) {
		const LaunchInfo &info = c.info.get();
#if V < 2400
		addCommand(&out, info);
#elif V < 10000
		for (int i = 0; i < info.commands_size(); i++)
			addCommand(&out, info.commands(i));
#else
		for (int i = 0; i < info.pre_exec_commands_size(); i++)
			addCommand(&out, info.pre_exec_commands(i));
#endif
#if V >= 10200
		for (int i = 0; i < info.clone_namespaces_size(); i++)
			ns = ns || (info.clone_namespaces(i) & CLONE_NEWNS);
#elif V >= 2500
		ns = info.namespaces() & CLONE_NEWNS;
#endif
#if V >= 10500
		for (int i = 0; i < info.mounts_size(); i++)
			out.insert(out.end(), { "--mount", info.mounts(i).source(), info.mounts(i).target(),
						std::to_string(info.mounts(i).flags()) });
#endif
	}
	if (ns)
		out.push_back("--namespace");
#if V >= 10500
	out.push_back("--rslave"); // with a namespace
#endif
	for (const char *key : { "sandbox", "rootfs", "user" })
		if (c.description.one.count(key))
			out.insert(out.end(), { std::string("--") + key, c.description.one.at(key) });
	return out;
}
#pragma GCC diagnostic pop

static pid_t spawn(const Words &words, const posix_spawn_file_actions_t *actions)
{
	std::vector<char *> argv;
	for (const std::string &word : words)
		argv.push_back(const_cast<char *>(word.c_str()));
	argv.push_back(nullptr);
	pid_t pid = -1;
	return posix_spawn(&pid, argv[0], actions, nullptr, argv.data(), environ) == 0 ? pid : -1;
}

static int waitFor(pid_t pid)
{
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status;
}

static void launch(const Words &words)
{
	const std::string tag = words[0];
	Container c;
	{
		std::lock_guard<std::mutex> lock(containersLock);
		c = containers[words[2]];
	}
	Words line = makeLaunch(c);
	line.insert(line.end(), { "--output", words[3], "--command", words[4] });
	int go[2];
	if (pipe2(go, O_CLOEXEC) != 0)
		return say(tag, "error pipe");
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, go[0], 0);
	const pid_t pid = spawn(line, &actions);
	posix_spawn_file_actions_destroy(&actions);
	close(go[0]);
	const process::Future<Nothing> isolated = isolator->isolate(makeId(words[2]), pid);
	say(tag, pid > 0 && isolated.isReady() ? "ok " + std::to_string(pid) : "error not isolated");
	close(go[1]); // now it may go on
	std::thread([tag, pid]() {
		const int status = waitFor(pid);
		say(tag, "exit " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status)
								    : 1000 + WTERMSIG(status)));
	}).detach();
}

// ---- the launch helper: another process of this program ----

struct Launch {
	bool ns = false, rslave = false;
	std::string sandbox, rootfs, user, output, command;
	std::vector<Words> commands, mounts;

	explicit Launch(const Words &w)
	{
		for (size_t i = 0; i < w.size(); i++) {
			if (w[i] == "--namespace") {
				ns = true;
			} else if (w[i] == "--rslave") {
				rslave = true;
			} else if (w[i] == "--shell") {
				commands.push_back({ "/bin/sh", "-c", w[++i] });
			} else if (w[i] == "--argv") { // the program, then its whole argument vector
				const size_t n = std::stoul(w[i + 1]);
				commands.push_back(
					Words(w.begin() + long(i) + 2, w.begin() + long(i + 2 + n)));
				if (commands.back().size() < 2 || commands.back()[0] != commands.back()[1])
					fail("an argument vector does not begin with its program");
				commands.back().erase(commands.back().begin());
				i += n + 1;
			} else if (w[i] == "--mount") {
				mounts.push_back({ w[i + 1], w[i + 2], w[i + 3] });
				i += 3;
			} else {
				(w[i] == "--sandbox"  ? sandbox
				 : w[i] == "--rootfs" ? rootfs
				 : w[i] == "--user"   ? user
				 : w[i] == "--output" ? output
						      : command) = w[i + 1];
				i++;
			}
		}
	}

	[[noreturn]] static void fail(const std::string &what)
	{
		std::cerr << "launch: " << what << ": " << strerror(errno) << std::endl;
		_exit(125);
	}

	void bind(const std::string &source, const std::string &target) const
	{
		if (mount(source.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
			fail("bind " + target);
	}

	// filesystem/linux, which an image needs: its sandbox, and here also its programs, which are the
	// host's.
	void makeRoot() const
	{
		if (mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0)
			fail("rslave");
		bind(rootfs, rootfs);
		bind("/usr", rootfs + "/usr");
		bind(sandbox, rootfs + "/mnt/mesos/sandbox");
	}

	void run() const
	{
		char ignored;
		if (read(0, &ignored, 1) != 0)
			fail("wait for isolate()");
		if (ns && unshare(CLONE_NEWNS) != 0)
			fail("unshare");
		if (ns && rslave && mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0)
			fail("rslave");
		if (!rootfs.empty())
			makeRoot();
		for (const Words &m : mounts)
			if (mount(m[0].c_str(), m[1].c_str(), nullptr, std::stoul(m[2]), nullptr) != 0)
				fail("mount " + m[1]);
		for (const Words &c : commands) {
			const int status = waitFor(spawn(c, nullptr));
			if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
				fail("command " + c[0]);
		}
		if (!rootfs.empty() && (chroot(rootfs.c_str()) != 0 || chdir("/mnt/mesos/sandbox") != 0))
			fail("chroot");
		if (rootfs.empty() && chdir(sandbox.c_str()) != 0)
			fail("chdir");
		if (!user.empty())
			become();
		setsid();
		execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char *>(nullptr));
		fail("exec");
	}

	void redirect() const
	{
		const int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
			fail("open " + output);
	}

	void become() const
	{
		const passwd *p = getpwnam(user.c_str());
		if (!p || setgroups(0, nullptr) != 0 || setgid(p->pw_gid) != 0 || setuid(p->pw_uid) != 0)
			fail("become " + user);
	}
};

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--launch") == 0) {
		const Launch launched(Words(argv + 2, argv + argc));
		launched.redirect();
		launched.run();
	}
	const std::map<std::string, void (*)(const Words &)> verbs = {
		{ "load", load },     { "recover", recover }, { "prepare", prepare },
		{ "launch", launch }, { "cleanup", cleanup }, { "rest", rest },
	};
	for (std::string line; std::getline(std::cin, line);) {
		const Words words = split(line, '\t');
		if (words.size() > 1 && words[1] == "delete") {
			delete isolator;
			isolator = nullptr;
			say(words[0], "ok");
		} else if (words.size() > 1 && verbs.count(words[1])) {
			verbs.at(words[1])(words);
		} else {
			say(words.empty() ? "?" : words[0], "error no such verb");
		}
	}
	_exit(0);
}
