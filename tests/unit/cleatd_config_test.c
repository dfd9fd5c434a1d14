/* cleatd_config_test.c - the configuration file: what is accepted, and the exact words and lines of every
 * refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cleatd/config.h"
#include "cleatd/yaml.h"
#include "util/kv.h"
#include "util/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Parses text as file "f"; returns the report, which the caller frees. */
static char *parse_bytes(struct cleatd_config *config, const char *text, size_t n)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleatd_report report;
	char *lines;

	assert_int_equal(cleatd_config_init(config, &err), CLEAT_OK);
	cleatd_report_init(&report, "f");
	bool good = cleatd_config_parse(config, text, n, &report);
	assert_int_equal(good, report.count == 0);
	lines = strdup(cleatd_report_text(&report));
	cleatd_report_done(&report);
	return lines;
}

static void expect_errors(const char *text, size_t n, const char *wanted)
{
	struct cleatd_config config;
	char *lines = parse_bytes(&config, text, n);

	assert_string_equal(lines, wanted);
	free(lines);
	cleatd_config_done(&config);
}

#define EXPECT(text, wanted) expect_errors(text, sizeof(text) - 1, wanted)

static void test_config__empty_gives_defaults(void **state)
{
	static const char *const texts[] = { "", "\n", "# only a comment\n", "---\n", "~\n" };

	(void)state;
	for (size_t i = 0; i < CLEAT_COUNT(texts); i++) {
		struct cleatd_config c;
		char *lines = parse_bytes(&c, texts[i], strlen(texts[i]));

		assert_string_equal(lines, "");
		free(lines);
		assert_string_equal(c.state_dir, "/var/lib/cleat");
		assert_string_equal(c.runtime_dir, "/run/cleat");
		assert_int_equal(c.socket_mode, 0660);
		assert_int_equal(c.log_level, CLEAT_LOG_INFO);
		assert_int_equal(c.log_format, CLEAT_LOG_TEXT);
		assert_null(c.node);
		assert_null(c.target_prefixes);
		assert_null(c.listen_address);
		assert_false(c.any_namespace);
		assert_null(c.csi_socket);
		assert_string_equal(c.csi_driver_name, "csi.cleat");
		assert_true(c.csi_attach);
		assert_false(c.csi_local_multi_node);
		assert_false(c.csi_node_expand);
		assert_true(c.csi_stage);
		assert_int_equal(c.csi_max_volumes, 0);
		assert_int_equal(c.pool_count, 0);
		cleatd_config_done(&c);
	}
}

static void test_config__every_key_is_read(void **state)
{
	static const char text[] =
		"node: n-1.example\n"
		"state_dir: /s\n"
		"runtime_dir: /r\n"
		"socket: {path: /r/x.sock, mode: '0600', group: daemon}\n"
		"log:\n  level: debug\n  format: json\n"
		"target_prefixes: [/srv/a, \"/srv/b c\"]\n"
		"any_namespace: yes\n"
		"default_pool: slow-1\n"
		"csi: {socket: /r/csi.sock, mode: '0600', driver_name: a.b-c, max_volumes: 7, attach: no,\n"
		"  local_multi_node: yes, node_expand: yes, stage: no}\n"
		"listen:\n  address: '[::1]:9443'\n  cert: /c\n  key: /k\n  client_ca: /a\n"
		"pools:\n"
		"  fast: {backend: loop, path: /srv/cleat, lane_threads: 3}\n"
		"  slow-1:\n    cross_scope: true\n    backend: dir\n    layer: fault\n"
		"    topology: {zone: eu-1, example.com/rack: r.7}\n";
	struct cleatd_config c;
	char *lines = parse_bytes(&c, text, sizeof(text) - 1);

	(void)state;
	assert_string_equal(lines, "");
	free(lines);
	assert_string_equal(c.node, "n-1.example");
	assert_string_equal(c.state_dir, "/s");
	assert_string_equal(c.runtime_dir, "/r");
	assert_string_equal(c.socket_path, "/r/x.sock");
	assert_int_equal(c.socket_mode, 0600);
	assert_string_equal(c.socket_group, "daemon");
	assert_int_equal(c.log_level, CLEAT_LOG_DEBUG);
	assert_int_equal(c.log_format, CLEAT_LOG_JSON);
	assert_string_equal(c.target_prefixes[0], "/srv/a");
	assert_string_equal(c.target_prefixes[1], "/srv/b c");
	assert_null(c.target_prefixes[2]);
	assert_true(c.any_namespace);
	assert_string_equal(c.default_pool, "slow-1");
	assert_string_equal(c.csi_socket, "/r/csi.sock");
	assert_int_equal(c.csi_mode, 0600);
	assert_string_equal(c.csi_driver_name, "a.b-c");
	assert_int_equal(c.csi_max_volumes, 7);
	assert_false(c.csi_attach);
	assert_true(c.csi_local_multi_node);
	assert_true(c.csi_node_expand);
	assert_false(c.csi_stage);
	assert_string_equal(c.listen_address, "[::1]:9443");
	assert_string_equal(c.listen_client_ca, "/a");
	assert_int_equal(c.pool_count, 2);
	assert_string_equal(c.pools[0].name, "fast");
	assert_string_equal(c.pools[0].backend, "loop");
	assert_string_equal(cleat_kv_get(&c.pools[0].config, "path"), "/srv/cleat");
	assert_int_equal(c.pools[0].config.count, 1);
	assert_int_equal(c.pools[0].lane_threads, 3);
	assert_false(c.pools[0].cross_scope);
	assert_string_equal(c.pools[1].name, "slow-1");
	assert_true(c.pools[1].cross_scope);
	assert_string_equal(c.pools[1].layer, "fault");
	assert_int_equal(c.pools[0].topology.count, 0);
	assert_int_equal(c.pools[1].topology.count, 2);
	assert_string_equal(cleat_kv_get(&c.pools[1].topology, "zone"), "eu-1");
	assert_string_equal(cleat_kv_get(&c.pools[1].topology, "example.com/rack"), "r.7");
	cleatd_config_done(&c);
}

static void test_config__unknown_keys_are_refused(void **state)
{
	(void)state;
	EXPECT("nod: x\n", "f:1: unknown key 'nod'\n");
	EXPECT("log:\n  level: info\n  colour: red\n", "f:3: unknown key 'log.colour'\n");
	EXPECT("log.level: info\n", "f:1: unknown key 'log.level'\n");
	EXPECT("'': x\n", "f:1: unknown key ''\n");
	EXPECT("a: 1\n\nb: 2\n", "f:1: unknown key 'a'\nf:3: unknown key 'b'\n");
}

static void test_config__a_pool_key_the_backend_does_not_know_is_refused_with_its_line(void **state)
{
	struct cleatd_config c;
	static const char text[] = "pools:\n  p:\n    backend: loop\n    no_such_key: 1\n";
	char *lines = parse_bytes(&c, text, sizeof(text) - 1);

	(void)state;
	assert_non_null(strstr(lines, "f:4: pools.p.no_such_key: "));
	assert_int_equal(strchr(lines, '\n') - lines, strlen(lines) - 1);
	free(lines);
	cleatd_config_done(&c);
}

static void test_config__duplicates_are_refused(void **state)
{
	(void)state;
	EXPECT("node: a\nnode: b\n", "f:2: 'node' is given twice, first in line 1\n");
	EXPECT("log: {level: info}\n\nlog:\n  level: [x, {y: z}]\n",
	       "f:3: 'log' is given twice, first in line 1\n");
	EXPECT("pools:\n  p: {backend: loop}\n  q: {backend: loop}\n  p: {backend: dir}\n",
	       "f:4: 'p' is given twice, first in line 2\n");
	EXPECT("pools:\n  p:\n    backend: loop\n    backend: loop\n",
	       "f:4: 'backend' is given twice, first in line 3\n");
}

static void test_config__wrong_kinds_are_refused(void **state)
{
	(void)state;
	EXPECT("- a\n- b\n", "f:1: the file must be a mapping of keys, here is a list\n");
	EXPECT("word\n", "f:1: the file must be a mapping of keys, here is a text\n");
	EXPECT("node:\n", "f:1: node must be 1 to 128 characters of [A-Za-z0-9._-], here is nothing\n");
	EXPECT("node: [a]\n", "f:1: node must be 1 to 128 characters of [A-Za-z0-9._-], here is a list\n");
	EXPECT("log: info\n", "f:1: log must be a mapping, here is a text\n");
	EXPECT("log:\n", "f:1: log must be a mapping, here is nothing\n");
	EXPECT("pools:\n", "f:1: pools must be a mapping, here is nothing\n");
	EXPECT("pools: [loop]\n", "f:1: pools must be a mapping, here is a list\n");
	EXPECT("pools:\n  p: loop\n", "f:2: pools.p must be a mapping, here is a text\n");
	EXPECT("target_prefixes: /srv\n",
	       "f:1: target_prefixes must be a list of absolute paths, here is a text\n");
	EXPECT("target_prefixes:\n- /a\n- {b: c}\n- d\n",
	       "f:3: target_prefixes must be an absolute path, here is a mapping\n"
	       "f:4: target_prefixes: 'd' is not an absolute path\n");
	EXPECT("pools:\n  p:\n    backend: loop\n    path: [a]\n",
	       "f:4: pools.p.path must be a text, here is a list\n");
}

static void test_config__wrong_values_are_refused(void **state)
{
	(void)state;
	EXPECT("state_dir: var/lib\n", "f:1: state_dir: 'var/lib' is not an absolute path\n");
	EXPECT("state_dir: /a/../b\n", "f:1: state_dir: '/a/../b' is not an absolute path\n");
	EXPECT("state_dir: /a/..\n", "f:1: state_dir: '/a/..' is not an absolute path\n");
	EXPECT("any_namespace: 1\n", "f:1: any_namespace: '1' is not true or false\n");
	EXPECT("socket: {mode: 0778}\n", "f:1: socket.mode: '0778' is not octal permissions, 0000 to 0777\n");
	EXPECT("socket: {mode: 1777}\n", "f:1: socket.mode: '1777' is not octal permissions, 0000 to 0777\n");
	EXPECT("socket: {mode: -1}\n", "f:1: socket.mode: '-1' is not octal permissions, 0000 to 0777\n");
	EXPECT("log: {level: loud}\n", "f:1: log.level: 'loud' is not debug, info, warn or error\n");
	EXPECT("log: {format: xml}\n", "f:1: log.format: 'xml' is not text or json\n");
	EXPECT("node: 'a b'\n", "f:1: node: 'a b' is not 1 to 128 characters of [A-Za-z0-9._-]\n");
	EXPECT("node: ''\n", "f:1: node: '' is not 1 to 128 characters of [A-Za-z0-9._-]\n");
	EXPECT("csi: {max_volumes: 65536}\n",
	       "f:1: csi.max_volumes: '65536' is not a number from 0 to 65535\n");
	EXPECT("csi: {driver_name: csi.1}\n",
	       "f:1: csi.driver_name: 'csi.1' is not 2 to 63 characters of [A-Za-z0-9.-], a letter first and "
	       "last\n");
	EXPECT("csi: {driver_name: x}\n", "f:1: csi.driver_name: 'x' is not 2 to 63 characters of "
					  "[A-Za-z0-9.-], a letter first and last\n");
	EXPECT("csi: {socket: csi.sock}\n",
	       "f:1: csi.socket: 'csi.sock' is not an absolute path of at most 107 bytes\n");
	EXPECT("socket:\n  path: "
	       "/123456789/123456789/123456789/123456789/123456789/123456789/123456789/123456789/"
	       "123456789/123456789/1234567\n",
	       "f:2: socket.path: "
	       "'/123456789/123456789/123456789/123456789/123456789/123456789/123456789/123456789/"
	       "123456789/123456789/1234567' is not an absolute path of at most 107 bytes\n");
	EXPECT("pools: {p: {backend: dir, lane_threads: 0}}\n",
	       "f:1: pools.p.lane_threads: '0' is not a number from 1 to 64\n");
	EXPECT("pools: {p: {backend: dir, lane_threads: 65}}\n",
	       "f:1: pools.p.lane_threads: '65' is not a number from 1 to 64\n");
	EXPECT("pools: {p: {backend: dir, lane_threads: 99999999999999999999}}\n",
	       "f:1: pools.p.lane_threads: '99999999999999999999' is not a number from 1 to 64\n");
}

static void test_config__pools_are_checked(void **state)
{
	(void)state;
	EXPECT("pools:\n  p: {}\n", "f:2: pools.p has no backend\n");
	EXPECT("pools:\n  p: {backend: nope}\n", "f:2: pools.p.backend: there is no backend 'nope'\n");
	EXPECT("pools:\n  P_1: {backend: dir}\n",
	       "f:2: pools: 'P_1' is no pool name, which is 1 to 31 characters of [a-z0-9-]\n");
	EXPECT("pools:\n  -p: {backend: dir}\n",
	       "f:2: pools: '-p' is no pool name, which is 1 to 31 characters of [a-z0-9-]\n");
	EXPECT("pools:\n  12345678901234567890123456789012: {backend: dir}\n",
	       "f:2: pools: '12345678901234567890123456789012' is no pool name, which is 1 to 31 characters "
	       "of [a-z0-9-]\n");
}

static void test_config__a_pools_topology_is_checked_line_by_line(void **state)
{
	(void)state;
	EXPECT("pools:\n  p:\n    backend: dir\n    topology: here\n",
	       "f:4: pools.p.topology must be a mapping of keys and values, here is a text\n");
	EXPECT("pools:\n  p:\n    backend: dir\n    topology:\n      zone: [a]\n      rack:\n",
	       "f:5: pools.p.topology must be texts, here is a list\n"
	       "f:6: pools.p.topology must be texts, here is nothing\n");
	EXPECT("pools:\n  p:\n    backend: dir\n    topology:\n      zone: a b\n      -x: y\n      a/b/c: "
	       "d\n",
	       "f:5: pools.p.topology: 'a b' is no value for 'zone', which is 1 to 63 of [A-Za-z0-9._-]\n"
	       "f:6: pools.p.topology: '-x' is no key, which is 1 to 63 of [A-Za-z0-9._-], also after a "
	       "domain and '/'\n"
	       "f:7: pools.p.topology: 'a/b/c' is no key, which is 1 to 63 of [A-Za-z0-9._-], also after a "
	       "domain and "
	       "'/'\n");
	EXPECT("pools: {p: {backend: dir, topology: {a: a, b: a, c: a, d: a, e: a, f: a, g: a, h: a, i: "
	       "a}}}\n",
	       "f:1: pools.p.topology: more than 8 keys\n");
}

static void test_config__the_default_pool_must_exist(void **state)
{
	(void)state;
	EXPECT("default_pool: fast\npools:\n  slow: {backend: dir}\n",
	       "f:1: default_pool: there is no pool 'fast'\n");
	EXPECT("default_pool: Fast\n", "f:1: default_pool: 'Fast' is not 1 to 31 characters of [a-z0-9-]\n");
}

static void test_config__too_many_pools_are_refused(void **state)
{
	cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(8192);

	(void)state;
	cleat_buf_adds(&b, "pools:\n");
	for (int i = 0; i <= CLEATD_MAX_POOLS; i++)
		cleat_buf_addf(&b, "  p%d: {backend: dir}\n", i);
	expect_errors(cleat_buf_text(&b), b.len, "f:66: more than 64 pools\n");
}

static void test_config__a_listener_needs_all_of_tls(void **state)
{
	(void)state;
	EXPECT("node: a\nlisten:\n  address: 0.0.0.0:1\n",
	       "f:2: listen.cert is missing: a TCP listener exists only with mutual TLS\n"
	       "f:2: listen.key is missing: a TCP listener exists only with mutual TLS\n"
	       "f:2: listen.client_ca is missing: a TCP listener exists only with mutual TLS\n");
	EXPECT("listen: {cert: /c, key: /k, client_ca: /a}\n", "f:1: listen.address is missing\n");
	EXPECT("listen: {address: nowhere, cert: /c, key: /k, client_ca: /a}\n",
	       "f:1: listen.address: 'nowhere' is not host:port\n");
	EXPECT("listen: {address: 'h:65536', cert: /c, key: /k, client_ca: /a}\n",
	       "f:1: listen.address: 'h:65536' is not host:port\n");
}

static void test_config__what_yaml_offers_beyond_data_is_refused(void **state)
{
	(void)state;
	EXPECT("node: &x a\n", "f:1: anchors and tags are not supported\n");
	EXPECT("a: 1\nnode: *x\n", "f:2: aliases are not supported\n");
	EXPECT("node: !!str a\n", "f:1: anchors and tags are not supported\n");
	EXPECT("log: &l\n  level: info\n", "f:1: anchors and tags are not supported\n");
	EXPECT("pools: !x []\n", "f:1: anchors and tags are not supported\n");
	EXPECT("node: a\n---\nnode: b\n", "f:2: a second document is not supported\n");
	EXPECT("? [a]\n: b\n", "f:1: a key must be text\n");
	EXPECT("node: \"a\\0b\"\n", "f:1: a NUL character is not allowed\n");
}

static void test_config__what_is_no_yaml_is_refused_with_its_line(void **state)
{
	(void)state;
	EXPECT("node: a\nlog: {level: info\n",
	       "f:3: while parsing a flow mapping, did not find expected ',' or '}'\n");
	EXPECT("node: a\n\tlog: x\n",
	       "f:2: while scanning a plain scalar, found a tab character that violates indentation\n");
	EXPECT("node: \xff\xfe\n", "f:1: invalid leading UTF-8 octet at byte 6\n");
}

static void test_config__depth_size_and_number_are_limited(void **state)
{
	cleat_autobuf struct cleat_buf many = CLEAT_BUF_INIT(1 << 20);
	static char large[CLEATD_YAML_MAX_BYTES + 1];

	(void)state;
	EXPECT("a: [[[[[[[[[[[[[[[[\n", "f:1: nested too deeply\n");
	for (int i = 0; i < CLEATD_YAML_MAX_NODES; i++)
		cleat_buf_adds(&many, "- x\n");
	expect_errors(cleat_buf_text(&many), many.len, "f:10000: too many entries\n");
	memset(large, '#', sizeof(large));
	expect_errors(large, sizeof(large), "f: larger than 256 KiB\n");
}

static void test_config__twenty_errors_are_listed(void **state)
{
	cleat_autobuf struct cleat_buf text = CLEAT_BUF_INIT(4096), wanted = CLEAT_BUF_INIT(4096);

	(void)state;
	for (int i = 1; i <= 25; i++) {
		cleat_buf_addf(&text, "k%d: x\n", i);
		if (i <= CLEATD_REPORT_MAX)
			cleat_buf_addf(&wanted, "f:%d: unknown key 'k%d'\n", i, i);
	}
	cleat_buf_adds(&wanted, "f: more errors are left out\n");
	expect_errors(cleat_buf_text(&text), text.len, cleat_buf_text(&wanted));
}

static void test_config__control_characters_do_not_get_into_the_report(void **state)
{
	(void)state;
	EXPECT("\"a\\nb\\e[1m\": x\n", "f:1: unknown key 'a b [1m'\n");
}

static void test_config__load_names_what_cannot_be_read(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleatd_config c;
	struct cleatd_report r;

	(void)state;
	assert_int_equal(cleatd_config_init(&c, &err), CLEAT_OK);
	cleatd_report_init(&r, "/no/such/file");
	assert_false(cleatd_config_load(&c, "/no/such/file", &r));
	assert_string_equal(cleatd_report_text(&r),
			    "/no/such/file: cannot be opened: No such file or directory\n");
	cleatd_report_done(&r);
	cleatd_report_init(&r, "/");
	assert_false(cleatd_config_load(&c, "/", &r));
	assert_string_equal(cleatd_report_text(&r), "/: cannot be read: Is a directory\n");
	cleatd_report_done(&r);
	cleatd_config_done(&c);
}

static void test_config__finish_fills_in_the_socket_and_the_embedded_pool(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleatd_config c;

	(void)state;
	assert_int_equal(cleatd_config_init(&c, &err), CLEAT_OK);
	assert_true(cleatd_config_set(&c, "runtime_dir", "/tmp/r", &err));
	assert_int_equal(cleatd_config_finish(&c, &err), CLEAT_OK);
	assert_string_equal(c.socket_path, "/tmp/r/cleat.sock");
	assert_int_equal(c.pool_count, 1);
	assert_string_equal(c.pools[0].name, "default");
	int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	assert_string_equal(c.pools[0].backend, fd >= 0 ? "loop" : "dir");
	if (fd >= 0)
		close(fd);
	cleatd_config_done(&c);
}

static void test_config__finish_refuses_a_socket_path_that_becomes_too_long(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleatd_config c;
	char dir[120] = "/";

	(void)state;
	memset(dir + 1, 'd', 100);
	assert_int_equal(cleatd_config_init(&c, &err), CLEAT_OK);
	assert_true(cleatd_config_set(&c, "runtime_dir", dir, &err));
	assert_int_equal(cleatd_config_finish(&c, &err), CLEAT_INVALID_ARGUMENT);
	assert_non_null(strstr(err.msg, "socket.path"));
	cleatd_config_done(&c);
}

static void add_name(const struct cleatd_key *key, void *arg)
{
	cleat_buf_addf(arg, "%s ", key->name);
}

static void test_config__compare_and_swap_keep_what_needs_a_restart(void **state)
{
	static const char a_text[] =
		"node: a\nlog: {level: info}\nsocket: {mode: 0660}\ntarget_prefixes: [/a]\n";
	static const char b_text[] =
		"node: b\nlog: {level: debug}\nsocket: {mode: 0600}\ntarget_prefixes: [/a, /b]\n"
		"any_namespace: true\n";
	cleat_autobuf struct cleat_buf names = CLEAT_BUF_INIT(1024);
	struct cleatd_config a, b;

	(void)state;
	free(parse_bytes(&a, a_text, sizeof(a_text) - 1));
	free(parse_bytes(&b, b_text, sizeof(b_text) - 1));
	cleatd_config_compare(&a, &a, add_name, &names);
	assert_string_equal(cleat_buf_text(&names), "");
	cleatd_config_compare(&a, &b, add_name, &names);
	assert_string_equal(cleat_buf_text(&names),
			    "node socket.mode log.level target_prefixes any_namespace ");
	cleatd_config_swap_fixed(&a, &b);
	assert_string_equal(b.node, "a");
	assert_int_equal(b.socket_mode, 0660);
	assert_false(b.any_namespace);
	assert_int_equal(b.log_level, CLEAT_LOG_DEBUG);
	assert_string_equal(b.target_prefixes[1], "/b");
	assert_string_equal(a.node, "b");
	cleatd_config_done(&a);
	cleatd_config_done(&b);
}

static void test_config__every_constant_default_is_acceptable(void **state)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleatd_config c = { 0 };

	(void)state;
	for (const struct cleatd_key *k = cleatd_config_keys; k->name; k++)
		if (k->def && k->def[0] != '(')
			assert_true(cleatd_config_set(&c, k->name, k->def, &err));
	assert_false(cleatd_config_set(&c, "no.such", "x", &err));
	cleatd_config_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config__empty_gives_defaults),
		cmocka_unit_test(test_config__every_key_is_read),
		cmocka_unit_test(test_config__unknown_keys_are_refused),
		cmocka_unit_test(test_config__a_pool_key_the_backend_does_not_know_is_refused_with_its_line),
		cmocka_unit_test(test_config__duplicates_are_refused),
		cmocka_unit_test(test_config__wrong_kinds_are_refused),
		cmocka_unit_test(test_config__wrong_values_are_refused),
		cmocka_unit_test(test_config__pools_are_checked),
		cmocka_unit_test(test_config__a_pools_topology_is_checked_line_by_line),
		cmocka_unit_test(test_config__the_default_pool_must_exist),
		cmocka_unit_test(test_config__too_many_pools_are_refused),
		cmocka_unit_test(test_config__a_listener_needs_all_of_tls),
		cmocka_unit_test(test_config__what_yaml_offers_beyond_data_is_refused),
		cmocka_unit_test(test_config__what_is_no_yaml_is_refused_with_its_line),
		cmocka_unit_test(test_config__depth_size_and_number_are_limited),
		cmocka_unit_test(test_config__twenty_errors_are_listed),
		cmocka_unit_test(test_config__control_characters_do_not_get_into_the_report),
		cmocka_unit_test(test_config__load_names_what_cannot_be_read),
		cmocka_unit_test(test_config__finish_fills_in_the_socket_and_the_embedded_pool),
		cmocka_unit_test(test_config__finish_refuses_a_socket_path_that_becomes_too_long),
		cmocka_unit_test(test_config__compare_and_swap_keep_what_needs_a_restart),
		cmocka_unit_test(test_config__every_constant_default_is_acceptable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
