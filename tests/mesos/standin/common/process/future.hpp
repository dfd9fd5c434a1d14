// Stand-in written for the tests of Cleat; not the header of Mesos.  See README.md of this folder.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace process
{
struct Failure {
	explicit Failure(const std::string &text) : message(text)
	{
	}
	std::string message;
};

// A value that comes later, from any thread, or a reason why it does not.
template <typename T> class Future
{
      public:
	typedef std::function<void(const Future<T> &)> Callback;

	Future() : data(std::make_shared<Data>())
	{
	}
	Future(const T &t) : Future()
	{
		complete(READY, &t, "");
	}
	Future(const Failure &failure) : Future()
	{
		complete(FAILED, nullptr, failure.message);
	}
	template <typename U> Future(const U &u) : Future(T(u))
	{
	}
	bool isPending() const
	{
		return now() == PENDING;
	}
	bool isReady() const
	{
		return now() == READY;
	}
	bool isFailed() const
	{
		return now() == FAILED;
	}
	const T &get() const
	{
		return *data->value;
	}
	const std::string &failure() const
	{
		return data->message;
	}
	const Future<T> &onAny(const Callback &callback) const
	{
		bool ended;
		{
			std::lock_guard<std::mutex> lock(data->lock);
			ended = data->state != PENDING;
			if (!ended)
				data->callbacks.push_back(callback);
		}
		if (ended)
			callback(*this);
		return *this;
	}

      private:
	template <typename U> friend class Promise;
	enum State { PENDING, READY, FAILED };
	struct Data {
		std::mutex lock;
		State state = PENDING;
		std::unique_ptr<T> value;
		std::string message;
		std::vector<Callback> callbacks;
	};

	State now() const
	{
		std::lock_guard<std::mutex> lock(data->lock);
		return data->state;
	}
	bool complete(State state, const T *value, const std::string &message) const
	{
		std::vector<Callback> callbacks;
		{
			std::lock_guard<std::mutex> lock(data->lock);
			if (data->state != PENDING)
				return false;
			data->value.reset(value ? new T(*value) : nullptr);
			data->message = message;
			data->state = state;
			callbacks.swap(data->callbacks);
		}
		for (const Callback &callback : callbacks)
			callback(*this);
		return true;
	}

	std::shared_ptr<Data> data;
};

template <typename T> class Promise
{
      public:
	Promise()
	{
	}
	Promise(const Promise &) = delete;
	Promise &operator=(const Promise &) = delete;
	bool set(const T &t)
	{
		return f.complete(Future<T>::READY, &t, "");
	}
	bool fail(const std::string &message)
	{
		return f.complete(Future<T>::FAILED, nullptr, message);
	}
	Future<T> future() const
	{
		return f;
	}

      private:
	Future<T> f;
};
} // namespace process
