// The driver under Nomad's own driver harness: the built program is started as a plugin, the way an agent starts it.
//
// CLEAT_BUILD names the build directory.
package nomad

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/client/lib/cgroupslib"
	"github.com/hashicorp/nomad/helper/pluginutils/hclspecutils"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	dtestutil "github.com/hashicorp/nomad/plugins/drivers/testutils"
	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/shoenig/test/must"
	"github.com/zclconf/go-cty/cty/msgpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

func build(t *testing.T) string {
	dir := os.Getenv("CLEAT_BUILD")
	must.NotEq(t, "", dir, must.Sprint("CLEAT_BUILD must name the build directory"))
	return dir
}

// startClient does what Nomad's plugin loader and driver manager do; with TLS on the socket when asked for.
func startClient(t *testing.T, autoTLS bool) plugin.ClientProtocol {
	logger := hclog.New(&hclog.LoggerOptions{Name: "plugin", Level: hclog.Info})
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: base.Handshake,
		Plugins: map[string]plugin.Plugin{
			base.PluginTypeBase:   &base.PluginBase{},
			base.PluginTypeDriver: drivers.NewDriverPlugin(nil, logger),
		},
		Cmd:              exec.Command(filepath.Join(build(t), "bin", "nomad-driver-cleat")),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         autoTLS,
		Logger:           logger,
	})
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	must.NoError(t, err)
	must.NoError(t, protocol.Ping())
	return protocol
}

func startPlugin(t *testing.T, autoTLS bool) drivers.DriverPlugin {
	raw, err := startClient(t, autoTLS).Dispense(base.PluginTypeDriver)
	must.NoError(t, err)
	return raw.(drivers.DriverPlugin)
}

// encode does what the agent does with HCL: parses it, checks it against the plugin's schema, and makes msgpack of it.
func encode(t *testing.T, schema *hclspec.Spec, text string) []byte {
	spec, diagnostics := hclspecutils.Convert(schema)
	must.False(t, diagnostics.HasErrors(), must.Sprint(diagnostics))
	value, diagnostics, errs := hclutils.ParseHclInterface(hclutils.HclConfigToInterface(t, "config {\n"+text+"\n}"), spec, nil)
	must.False(t, diagnostics.HasErrors(), must.Sprint(diagnostics))
	must.SliceEmpty(t, errs)
	encoded, err := msgpack.Marshal(value, value.Type())
	must.NoError(t, err)
	return encoded
}

func configure(t *testing.T, d drivers.DriverPlugin, text string) error {
	schema, err := d.ConfigSchema()
	must.NoError(t, err)
	return d.SetConfig(&base.Config{
		PluginConfig: encode(t, schema, text),
		AgentConfig:  &base.AgentConfig{Driver: &base.ClientDriverConfig{}},
		ApiVersion:   drivers.ApiVersion010,
	})
}

func startConfigured(t *testing.T, text string) drivers.DriverPlugin {
	d := startPlugin(t, false)
	must.NoError(t, configure(t, d, text))
	return d
}

func settings(t *testing.T, state string) string {
	return `
		state_dir = "` + state + `"
		volumes   = false
		helper    = "` + build(t) + `/bin/cleat-run-helper"`
}

func stateDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "cleat-harness-")
	must.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// connected gives the harness the driver's own connection, with the methods that streaming needs.
func newHarness(t *testing.T) (*dtestutil.DriverHarness, drivers.DriverPlugin) {
	d := startConfigured(t, settings(t, stateDir(t)))
	return dtestutil.NewDriverHarness(t, d), d
}

func newTask(t *testing.T, d drivers.DriverPlugin, config string) *drivers.TaskConfig {
	allocID := uuid.Generate()
	task := &drivers.TaskConfig{
		ID:      allocID + "/t/" + uuid.Short(),
		AllocID: allocID,
		Name:    "t",
		Resources: &drivers.Resources{
			NomadResources: &structs.AllocatedTaskResources{
				Memory: structs.AllocatedMemoryResources{MemoryMB: 128},
				Cpu:    structs.AllocatedCpuResources{CpuShares: 100},
			},
			LinuxResources: &drivers.LinuxResources{
				MemoryLimitBytes: 128 * 1024 * 1024,
				CPUShares:        100,
				CpusetCgroupPath: cgroupslib.LinuxResourcesPath(allocID, "t", false),
			},
		},
	}
	schema, err := d.TaskConfigSchema()
	must.NoError(t, err)
	spec, diagnostics := hclspecutils.Convert(schema)
	must.False(t, diagnostics.HasErrors())
	value, diagnostics, _ := hclutils.ParseHclInterface(hclutils.HclConfigToInterface(t, "config {\n"+config+"\n}"), spec, nil)
	must.False(t, diagnostics.HasErrors(), must.Sprint(diagnostics))
	must.NoError(t, task.EncodeDriverConfig(value))
	return task
}

// prepare makes what an agent makes for a task: its cgroup and its directories, with somebody who reads its output.
func prepare(t *testing.T, h *dtestutil.DriverHarness, task *drivers.TaskConfig) {
	h.MakeTaskCgroup(task.AllocID, task.Name)
	t.Cleanup(h.MkAllocDir(task, true))
}

func start(t *testing.T, h *dtestutil.DriverHarness, d drivers.DriverPlugin, task *drivers.TaskConfig) {
	prepare(t, h, task)
	_, _, err := d.StartTask(task)
	must.NoError(t, err)
	t.Cleanup(func() { must.NoError(t, d.DestroyTask(task.ID, true)) })
	must.NoError(t, h.WaitUntilStarted(task.ID, 10*time.Second))
}

const sleeper = `
	command = "/bin/sleep"
	args    = ["1000"]`

func TestExecStreamingConformance(t *testing.T) {
	h, d := newHarness(t)
	task := newTask(t, d, sleeper)
	start(t, h, d, task)
	dtestutil.ExecTaskStreamingConformanceTests(t, h, task.ID)
}

func TestDNS(t *testing.T) {
	for name, dns := range map[string]*drivers.DNSConfig{
		"given": {Servers: []string{"10.1.1.1", "10.2.2.2"}, Searches: []string{"one.test", "two.test"}, Options: []string{"ndots:2", "edns0"}},
		"host":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			h, d := newHarness(t)
			task := newTask(t, d, sleeper)
			task.DNS = dns
			start(t, h, d, task)
			dtestutil.TestTaskDNSConfig(t, h, task.ID, dns)
		})
	}
}

func TestExecTask(t *testing.T) {
	h, d := newHarness(t)
	task := newTask(t, d, sleeper)
	start(t, h, d, task)
	result, err := d.ExecTask(task.ID, []string{"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}, 10*time.Second)
	must.NoError(t, err)
	must.Eq(t, "out\n", string(result.Stdout))
	must.Eq(t, "err\n", string(result.Stderr))
	must.Eq(t, 3, result.ExitResult.ExitCode)
	began := time.Now()
	_, err = d.ExecTask(task.ID, []string{"/bin/sleep", "1000"}, time.Second)
	must.Error(t, err)
	must.Less(t, 30*time.Second, time.Since(began))
	_, err = d.ExecTask("no/such/task", []string{"/bin/true"}, time.Second)
	must.Error(t, err)
}

// Script checks that hang keep no task from starting and ending.
func TestManyThatHang(t *testing.T) {
	h, d := newHarness(t)
	task := newTask(t, d, sleeper)
	start(t, h, d, task)
	const count, limit = 60, 20 * time.Second
	ended := make(chan error, count)
	for range count {
		go func() {
			_, err := d.ExecTask(task.ID, []string{"/bin/sleep", "1000"}, limit)
			ended <- err
		}()
	}
	began := time.Now()
	_, err := d.ExecTask(task.ID, []string{"/bin/true"}, 30*time.Second)
	must.NoError(t, err)
	other := newTask(t, d, sleeper)
	prepare(t, h, other)
	_, _, err = d.StartTask(other)
	must.NoError(t, err)
	must.NoError(t, d.StopTask(other.ID, 0, ""))
	must.NoError(t, d.DestroyTask(other.ID, true))
	must.Less(t, limit, time.Since(began))
	must.NoError(t, d.StopTask(task.ID, 0, ""))
	for range count {
		<-ended // with the task, or when its time was over
	}
}

func TestWaitStopDestroy(t *testing.T) {
	h, d := newHarness(t)
	task := newTask(t, d, `
		command = "/bin/sh"
		args    = ["-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done"]`)
	start(t, h, d, task)
	waits := []<-chan *drivers.ExitResult{}
	for range 200 { // more than there are workers
		ch, err := d.WaitTask(context.Background(), task.ID)
		must.NoError(t, err)
		waits = append(waits, ch)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stats, err := d.TaskStats(ctx, task.ID, 100*time.Millisecond)
	must.NoError(t, err)
	for range 3 {
		usage := <-stats
		must.NotNil(t, usage)
		must.Positive(t, usage.ResourceUsage.MemoryStats.Usage)
	}
	must.Error(t, d.DestroyTask(task.ID, false))
	must.Error(t, d.SignalTask(task.ID, "SIGNONSENSE"))
	must.NoError(t, d.StopTask(task.ID, 10*time.Second, "SIGTERM"))
	for _, ch := range waits {
		result := <-ch
		must.NoError(t, result.Err)
		must.Eq(t, 4, result.ExitCode)
	}
	again, err := d.WaitTask(context.Background(), task.ID)
	must.NoError(t, err)
	must.Eq(t, 4, (<-again).ExitCode)
	must.NoError(t, d.StopTask(task.ID, time.Second, ""))
	status, err := d.InspectTask(task.ID)
	must.NoError(t, err)
	must.Eq(t, drivers.TaskStateExited, status.State)
	must.NoError(t, d.DestroyTask(task.ID, false))
	must.NoError(t, d.DestroyTask(task.ID, true))
	must.NoError(t, d.StopTask(task.ID, time.Second, ""))
	_, err = d.InspectTask(task.ID)
	must.Error(t, err)
}

// Another process, as after an agent's restart, finds the task by its handle.
func TestRecover(t *testing.T) {
	config := settings(t, stateDir(t))
	first := startConfigured(t, config)
	h := dtestutil.NewDriverHarness(t, first)
	task := newTask(t, first, sleeper)
	prepare(t, h, task)
	handle, _, err := first.StartTask(task)
	must.NoError(t, err)
	second := startConfigured(t, config)
	_, err = second.InspectTask(task.ID)
	must.Error(t, err)
	must.NoError(t, second.RecoverTask(handle))
	must.NoError(t, second.RecoverTask(handle), must.Sprint("recovering twice is fine"))
	must.NoError(t, first.RecoverTask(handle), must.Sprint("also where the task is known already"))
	status, err := second.InspectTask(task.ID)
	must.NoError(t, err)
	must.Eq(t, drivers.TaskStateRunning, status.State)
	waits, err := second.WaitTask(context.Background(), task.ID)
	must.NoError(t, err)
	must.NoError(t, second.StopTask(task.ID, 0, ""))
	must.Eq(t, 137, (<-waits).ExitCode)
	must.NoError(t, second.DestroyTask(task.ID, true))
	must.Error(t, startConfigured(t, config).RecoverTask(handle), must.Sprint("a task that was destroyed"))
}

func TestNetworkNamespace(t *testing.T) {
	name := "cleat-" + uuid.Short()
	must.NoError(t, exec.Command("ip", "netns", "add", name).Run())
	t.Cleanup(func() { exec.Command("ip", "netns", "delete", name).Run() })
	must.NoError(t, exec.Command("ip", "-n", name, "link", "add", "inside", "type", "veth", "peer", "name", "inside2").Run())
	h, d := newHarness(t)
	task := newTask(t, d, sleeper)
	task.NetworkIsolation = &drivers.NetworkIsolationSpec{Mode: drivers.NetIsolationModeGroup, Path: "/run/netns/" + name,
		HostsConfig: &drivers.HostsConfig{Hostname: "somewhere", Address: "10.9.8.7"}}
	start(t, h, d, task)
	result, err := d.ExecTask(task.ID, []string{"/bin/cat", "/proc/net/dev", "/etc/hosts"}, 10*time.Second)
	must.NoError(t, err)
	must.StrContains(t, string(result.Stdout), "inside:")
	must.StrContains(t, string(result.Stdout), "10.9.8.7 somewhere")
}

// Mode "none": a namespace that the agent has made, or one of the task's own.
func TestNoNetwork(t *testing.T) {
	name := "cleat-" + uuid.Short()
	must.NoError(t, exec.Command("ip", "netns", "add", name).Run())
	t.Cleanup(func() { exec.Command("ip", "netns", "delete", name).Run() })
	for kind, path := range map[string]string{"given": "/run/netns/" + name, "own": ""} {
		t.Run(kind, func(t *testing.T) {
			h, d := newHarness(t)
			task := newTask(t, d, sleeper)
			task.NetworkIsolation = &drivers.NetworkIsolationSpec{Mode: drivers.NetIsolationModeNone, Path: path}
			start(t, h, d, task)
			result, err := d.ExecTask(task.ID, []string{"/bin/sh", "-c", "cat /proc/net/dev | grep : | grep -vc lo:"}, 10*time.Second)
			must.NoError(t, err)
			must.Eq(t, "0\n", string(result.Stdout))
		})
	}
}

func TestDevices(t *testing.T) {
	h, d := newHarness(t)
	task := newTask(t, d, sleeper)
	task.Devices = []*drivers.DeviceConfig{
		{HostPath: "/dev/zero", TaskPath: "/dev/nothing", Permissions: "rw"},
		{HostPath: "/dev/loop-control", TaskPath: "/dev/deep/down/read", Permissions: "r"},
	}
	start(t, h, d, task)
	run := func(script string) *drivers.ExecTaskResult {
		result, err := d.ExecTask(task.ID, []string{"/bin/sh", "-c", script}, 10*time.Second)
		must.NoError(t, err)
		return result
	}
	must.Eq(t, "4\n", string(run("head -c 4 /dev/nothing | wc -c; echo x > /dev/nothing").Stdout))
	must.Eq(t, 0, run("true < /dev/deep/down/read").ExitResult.ExitCode)
	must.StrContains(t, string(run("true > /dev/deep/down/read").Stderr), "Operation not permitted", must.Sprint("the job says: read"))
	must.StrContains(t, string(run("mknod /dev/kmsg c 1 11; true < /dev/kmsg").Stderr), "Operation not permitted", must.Sprint("no other device"))
	must.Eq(t, "", string(run("ls /dev | grep loop").Stdout))
}

// What newer hosts ask for: methods, with a meaning or not, and fields that nobody knows.
func TestNewerHosts(t *testing.T) {
	connection := startClient(t, false).(*plugin.GRPCClient).Conn
	driver := "/hashicorp.nomad.plugins.drivers.proto.Driver/"
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	strange := &emptypb.Empty{}
	strange.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 1000, protowire.BytesType), "from the future"))
	for _, method := range []string{"Init", "Capabilities", "Shutdown"} {
		must.NoError(t, connection.Invoke(ctx, driver+method, strange, &emptypb.Empty{}), must.Sprint(method))
	}
	must.Eq(t, codes.Unimplemented, status.Code(connection.Invoke(ctx, driver+"Levitate", strange, &emptypb.Empty{})))
	// Whatever is asked before SetConfig, the plugin is not "gone".
	for _, method := range []string{"StartTask", "RecoverTask", "WaitTask", "StopTask", "DestroyTask", "InspectTask", "SignalTask", "ExecTask"} {
		must.Eq(t, codes.FailedPrecondition, status.Code(connection.Invoke(ctx, driver+method, strange, &emptypb.Empty{})), must.Sprint(method))
	}
}

func TestBadCommandIsFinal(t *testing.T) {
	h, d := newHarness(t)
	task := newTask(t, d, `command = "/no/such/program"`)
	prepare(t, h, task)
	_, _, err := d.StartTask(task)
	must.ErrorContains(t, err, "/no/such/program")
	must.False(t, structs.IsRecoverable(err))
}

func TestAutoMTLS(t *testing.T) {
	d := startPlugin(t, true)
	info, err := d.PluginInfo()
	must.NoError(t, err)
	must.Eq(t, "cleat", info.Name)
	capabilities, err := d.Capabilities()
	must.NoError(t, err)
	must.True(t, capabilities.Exec)
}

func TestConfigurationIsChecked(t *testing.T) {
	d := startPlugin(t, false)
	must.ErrorContains(t, configure(t, d, `socket = "relative"`), "socket: 'relative'")
	must.ErrorContains(t, configure(t, d, `allow_caps = ["fly"]`), "allow_caps: 'fly'")
	must.ErrorContains(t, configure(t, d, `log_level = "loud"`), "log_level: 'loud'")
}

// By hand it says what it is, and fails.
func TestByHand(t *testing.T) {
	program := filepath.Join(build(t), "bin", "nomad-driver-cleat")
	var text bytes.Buffer
	command := exec.Command(program)
	command.Stderr = &text
	err := command.Run()
	must.Error(t, err)
	must.Eq(t, 1, err.(*exec.ExitError).Sys().(syscall.WaitStatus).ExitStatus())
	must.StrContains(t, text.String(), "plugin of Nomad")
	version, err := exec.Command(program, "--version").Output()
	must.NoError(t, err)
	must.True(t, strings.HasPrefix(string(version), "nomad-driver-cleat "))
}
