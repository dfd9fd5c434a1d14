// Stand-in written for the tests of Cleat; not the header of Mesos.  See README.md of this folder.
#pragma once
struct None {
};
