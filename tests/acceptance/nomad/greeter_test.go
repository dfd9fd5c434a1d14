// The example plugin (examples/goplugin) under go-plugin's own client, which knows nothing of Nomad: handshake, TLS, calls, output, end.
package nomad

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/shoenig/test/must"
	"github.com/shoenig/test/wait"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// greeter gives the bare connection: its two messages are one string each, like a StringValue.
type greeter struct{ plugin.NetRPCUnsupportedPlugin }

func (*greeter) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

func (*greeter) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// output is written by the client's goroutines.
type output struct {
	sync.Mutex
	bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.Lock()
	defer o.Unlock()
	return o.Buffer.Write(p)
}

func (o *output) has(text string) func() bool {
	return func() bool {
		o.Lock()
		defer o.Unlock()
		return strings.Contains(o.Buffer.String(), text)
	}
}

func greeterClient(t *testing.T, change func(*plugin.ClientConfig)) *plugin.Client {
	config := &plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: 1, MagicCookieKey: "GREETER_PLUGIN", MagicCookieValue: "0e1f2a3b",
		},
		Plugins:          map[string]plugin.Plugin{"greeter": &greeter{}},
		Cmd:              exec.Command(filepath.Join(build(t), "bin", "greeter-plugin")),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	}
	change(config)
	client := plugin.NewClient(config)
	t.Cleanup(client.Kill)
	return client
}

func greet(conn *grpc.ClientConn, name string) (string, error) {
	var out wrapperspb.StringValue
	err := conn.Invoke(context.Background(), "/example.v1.Greeter/Greet", wrapperspb.String(name), &out)
	return out.Value, err
}

func TestGreeter(t *testing.T) {
	for name, autoTLS := range map[string]bool{"plain": false, "AutoMTLS": true} {
		t.Run(name, func(t *testing.T) {
			var log, stdout output
			client := greeterClient(t, func(c *plugin.ClientConfig) {
				c.AutoMTLS = autoTLS
				c.SyncStdout = &stdout
				c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info})
			})
			protocol, err := client.Client()
			must.NoError(t, err)
			must.NoError(t, protocol.Ping())
			raw, err := protocol.Dispense("greeter")
			must.NoError(t, err)
			conn := raw.(*grpc.ClientConn)

			text, err := greet(conn, "world")
			must.NoError(t, err)
			must.Eq(t, "Hello, world!", text)
			_, err = greet(conn, "")
			must.Eq(t, codes.InvalidArgument, status.Code(err))
			must.Eq(t, "name: is empty", status.Convert(err).Message())

			// What it logs arrives with its level and fields; what it prints, on the stream.
			must.Wait(t, wait.InitialSuccess(wait.BoolFunc(log.has("greeting: name=world")), wait.Timeout(20*time.Second)))
			must.Wait(t, wait.InitialSuccess(wait.Timeout(20*time.Second), wait.BoolFunc(func() bool {
				_, err := greet(conn, "reader")
				return err == nil && stdout.has("greeting reader\n")()
			})))
			began := time.Now()
			client.Kill()
			must.True(t, client.Exited())
			must.Less(t, 1900*time.Millisecond, time.Since(began), must.Sprint("it had to be killed"))
		})
	}
}

// A host that cannot do without multiplexing, or speaks another version, is told so at once.
func TestGreeterRefuses(t *testing.T) {
	_, err := greeterClient(t, func(c *plugin.ClientConfig) { c.GRPCBrokerMultiplex = true }).Client()
	must.ErrorContains(t, err, "multiplex")
	_, err = greeterClient(t, func(c *plugin.ClientConfig) { c.HandshakeConfig.ProtocolVersion = 9 }).Client()
	must.ErrorContains(t, err, "incompatible API version")
}
