// Stand-in written for the tests of Cleat; not the header of Mesos.  See README.md of this folder.
#pragma once
#include <memory>

namespace process
{
template <typename T> class Owned
{
      public:
	explicit Owned(T *t) : held(t)
	{
	}
	T *get() const
	{
		return held.get();
	}
	T *operator->() const
	{
		return held.get();
	}

      private:
	std::shared_ptr<T> held;
};
} // namespace process
