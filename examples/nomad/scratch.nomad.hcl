# Room that a single run needs and nobody after it: the volume is made for the allocation and goes with it. It is as large as it says, and
# no larger: what does not fit is refused there, and not taken from the machine's own disk.
job "scratch" {
  type = "batch"

  group "run" {
    restart {
      attempts = 0
      mode     = "fail"
    }

    task "fill" {
      driver = "cleat"

      config {
        command = "/bin/sh"
        args = ["-c", <<-SCRIPT
          if dd if=/dev/zero of=/scratch/file bs=1M 2> /local/said; then exit 1; fi
          tail -n 1 /local/said
          grep "No space left on device" /local/said
        SCRIPT
        ]

        volume {
          name        = "scratch"
          lifetime    = "allocation"
          size        = "128MiB"
          destination = "/scratch"
        }
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
