// Stand-in written for the tests of Cleat; not the header of Mesos.  See README.md of this folder.
#pragma once
#include <functional>

#include <mesos/mesos.pb.h>

namespace mesos
{
inline bool operator==(const ContainerID &a, const ContainerID &b)
{
	return a.SerializeAsString() == b.SerializeAsString();
}

class Resources
{
};
} // namespace mesos

namespace std
{
template <> struct hash<mesos::ContainerID> {
	size_t operator()(const mesos::ContainerID &id) const
	{
		return hash<string>()(id.SerializeAsString());
	}
};
} // namespace std
