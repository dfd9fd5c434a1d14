p.q.M.N.f

S
	a/b.protop.q"#
M
N
fB
o"
E
V
x*
E
V2
S
Call:
ext

c.proto"
M