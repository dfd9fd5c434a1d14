# A little web service, found by Nomad's own service discovery, that counts its visits on a volume. Each of its two instances has a volume of
# its own, named after its index, and gets that one again wherever in the group's life it is started.
job "counter" {
  group "web" {
    count = 2

    network {
      port "http" {}
    }

    service {
      name     = "counter"
      provider = "nomad"
      port     = "http"
      check {
        type     = "tcp"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "serve" {
      driver = "cleat"

      config {
        command = "/usr/bin/perl"
        args    = ["/local/serve.pl"]

        volume {
          name        = "visits-${NOMAD_ALLOC_INDEX}"
          create      = true
          size        = "128MiB"
          destination = "/data"
        }
      }

      template {
        destination = "local/serve.pl"
        data        = <<-SCRIPT
          use strict; use warnings; use IO::Socket::INET;
          my ($host, $port) = @ENV{"NOMAD_HOST_IP_http", "NOMAD_HOST_PORT_http"};
          my $server = IO::Socket::INET->new(LocalAddr => $host, LocalPort => $port, Listen => 8, ReuseAddr => 1) or die "listen: $!";
          while (my $client = $server->accept()) {
              my $request = <$client>;
              next unless defined $request; # a check only connects
              while (my $header = <$client>) { last if $header =~ /^\r?\n$/ }
              my $visits = 0;
              if (open my $in, "<", "/data/visits") { $visits = <$in> }
              open my $out, ">", "/data/visits.new" or die "write: $!";
              print $out ++$visits;
              close $out;
              rename "/data/visits.new", "/data/visits";
              print $client "HTTP/1.0 200 OK\r\n\r\ninstance $ENV{NOMAD_ALLOC_INDEX}: visit $visits\n";
              close $client;
          }
        SCRIPT
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
