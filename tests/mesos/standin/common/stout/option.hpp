// Stand-in written for the tests of Cleat; not the header of Mesos.  See README.md of this folder.
#pragma once
#include <stout/none.hpp>

template <typename T> class Option
{
      public:
	Option() : some(false), value()
	{
	}
	Option(const None &) : some(false), value()
	{
	}
	Option(const T &t) : some(true), value(t)
	{
	}
	bool isSome() const
	{
		return some;
	}
	bool isNone() const
	{
		return !some;
	}
	const T &get() const
	{
		return value;
	}

      private:
	bool some;
	T value;
};
