# What a database such as PostgreSQL asks of its storage: a directory that belongs to its own user and to nobody else (or it refuses to
# start), a second volume for the log, no rights it does not need. The "database" here is a shell script that checks all this as strictly.
job "database" {
  group "db" {
    task "db" {
      driver       = "cleat"
      user         = "999:999" # a number needs no entry in /etc/passwd
      kill_signal  = "SIGINT"  # PostgreSQL's "fast shutdown"
      kill_timeout = "30s"

      config {
        command  = "/bin/sh"
        args     = ["/local/database.sh"]
        work_dir = "/var/lib/postgresql"
        cap_drop = ["all"]

        ulimit {
          nofile = "4096:8192"
        }

        volume {
          name        = "pgdata"
          create      = true
          size        = "512MiB" # make it larger, run the job again, and the volume grows
          fs          = "ext4"
          destination = "/var/lib/postgresql"
          options = {
            uid  = "999"
            gid  = "999"
            mode = "0700"
          }
        }

        volume {
          name        = "pgwal"
          create      = true
          size        = "512MiB"
          fs          = "xfs"
          destination = "/var/lib/postgresql-wal"
          options = {
            uid  = "999"
            gid  = "999"
            mode = "0700"
          }
          mount_options = {
            noatime = "" # an option that takes no value
          }
        }
      }

      template {
        destination = "local/database.sh"
        perms       = "644"
        data        = <<-SCRIPT
          for dir in /var/lib/postgresql /var/lib/postgresql-wal; do
            found=$(stat -c '%u:%g %a' $dir)
            [ "$found" = "999:999 700" ] || { echo "FATAL: $dir is $found"; exit 1; }
            [ "$(stat -c %m $dir)" = $dir ] || { echo "FATAL: $dir is no volume"; exit 1; }
          done
          ! touch /usr/here 2> /dev/null || { echo "FATAL: may write to the system"; exit 1; }
          [ "$(ulimit -n)" = 4096 ] || { echo "FATAL: $(ulimit -n) files"; exit 1; }
          trap 'echo "shut down" >> /var/lib/postgresql/log; exit 0' INT
          echo "started as $(id -u), $(wc -l < /var/lib/postgresql/log 2> /dev/null || echo 0) lines of log before" | tee -a log
          echo "database system is ready to accept connections"
          while :; do sleep 1; done
        SCRIPT
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
