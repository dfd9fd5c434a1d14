// Stand-in written for the tests of Cleat; not the header of Mesos.  See README.md of this folder.
#pragma once
#include <unordered_set>

template <typename T> class hashset : public std::unordered_set<T>
{
};
