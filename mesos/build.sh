#!/bin/bash
# Builds the isolator module for installed releases of Mesos, with nothing but a C and a C++ compiler and CMake.
#
#   mesos/build.sh --mesos-prefix DIR... [--mesos-includes DIR...] [--build DIR]
#
#   --mesos-prefix DIR     an installed Mesos: DIR/include/mesos/version.hpp; may be repeated
#   --mesos-includes DIR   headers of the protobuf, boost, glog and so on that Mesos was built with; VERSION=DIR is for that release alone;
#                          may be repeated
#   --build DIR            where to build; build-mesos in the current folder unless given
#
# What is made: DIR/lib/libcleat_mesos-<version>.so for each Mesos, and DIR/bin/cleat-mesos-enter, which they start.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
prefixes= includes= build=build-mesos

while [ $# -gt 0 ]; do
	case $1 in
	--help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
	--mesos-prefix | --mesos-includes | --build)
		[ $# -ge 2 ] || { echo "$0: $1 needs a value" >&2; exit 2; } ;;
	*) echo "$0: '$1' is not known; see --help" >&2; exit 2 ;;
	esac
	case $1 in
	--mesos-prefix) prefixes=${prefixes:+$prefixes;}$2 ;;
	--mesos-includes) includes=${includes:+$includes;}$2 ;;
	--build) build=$2 ;;
	esac
	shift 2
done
[ -n "$prefixes" ] || { echo "$0: --mesos-prefix is needed; see --help" >&2; exit 2; }
cmake -S "$here" -B "$build" -DMESOS_PREFIX="$prefixes" -DMESOS_INCLUDES="$includes"
cmake --build "$build" -j "$(nproc)"
ls -l "$build"/lib/libcleat_mesos-*.so "$build"/bin/cleat-mesos-enter
