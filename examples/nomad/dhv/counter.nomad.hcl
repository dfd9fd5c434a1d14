# Counts its own starts in the volume "counter" (see counter.volume.hcl), and then every second:
#
#   nomad job run counter.nomad.hcl
#   nomad alloc logs -job counter
#   nomad job stop counter; nomad job run counter.nomad.hcl     it goes on where it was
#
# Nomad places it on the node that has the volume. Any driver that mounts volumes will do: docker, podman, exec, cleat.
job "counter" {
  group "counter" {
    volume "data" {
      type            = "host"
      source          = "counter"
      access_mode     = "single-node-single-writer"
      attachment_mode = "file-system"
      sticky          = true # a replaced allocation goes back to this very volume, also where other nodes have one of that name
    }

    task "count" {
      driver = "exec"
      user   = "nobody"

      config {
        command = "/bin/sh"
        args    = ["${NOMAD_TASK_DIR}/count.sh"]
      }

      template {
        destination = "local/count.sh"
        data        = <<-EOT
          starts=$(cat /data/starts 2>/dev/null || echo 0)
          echo $((starts + 1)) > /data/starts
          echo "start number $((starts + 1))"
          seconds=$(cat /data/seconds 2>/dev/null || echo 0)
          while sleep 1; do
            seconds=$((seconds + 1))
            echo $seconds > /data/seconds.new && mv /data/seconds.new /data/seconds
          done
        EOT
      }

      volume_mount {
        volume      = "data"
        destination = "/data"
      }

      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
