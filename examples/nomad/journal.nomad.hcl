# Writes a line a second to a volume, for ever. Whoever starts it again goes on where the last one was cut off.
job "journal" {
  group "writer" {
    task "write" {
      driver = "cleat"

      config {
        command = "/bin/sh"
        args = ["-c", <<-SCRIPT
          trap 'echo "a last line by $NOMAD_SHORT_ALLOC_ID" >> /data/journal; exit 0' TERM
          while :; do
            echo "line $(wc -l < /data/journal 2> /dev/null || echo 0) by $NOMAD_SHORT_ALLOC_ID" >> /data/journal
            sleep 0.2
          done
        SCRIPT
        ]

        volume {
          name        = "journal"
          create      = true # without it, a missing volume would be an error
          size        = "256MiB"
          destination = "/data"
        }
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
