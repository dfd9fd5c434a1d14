// goserver is the peer of the benchmark of an empty call: a minimal grpc-go server on a Unix socket with the
// library's own health service and nothing else.
//
//	goserver -socket PATH
//
// It ends on SIGTERM or SIGINT.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func serve(path string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		server.Stop()
	}()
	return server.Serve(listener)
}

func main() {
	path := flag.String("socket", "", "Unix socket to listen on")
	flag.Parse()
	if *path == "" {
		fmt.Fprintln(os.Stderr, "goserver: -socket is missing")
		os.Exit(2)
	}
	if err := serve(*path); err != nil {
		fmt.Fprintf(os.Stderr, "goserver: %v\n", err)
		os.Exit(1)
	}
}
