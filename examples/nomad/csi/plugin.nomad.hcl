# Makes the cleatd of a client node a CSI plugin: the daemon runs on the host already, and the task only links its socket into place. Run it
# in this directory, once for each node whose pools are its own:
#
#   nomad job run -var node=web-3 plugin.nomad.hcl      plugin id cleat-web-3, on that node only
#   nomad job run plugin.nomad.hcl                      where pools are shared: plugin id cleat, on every node
#
# Wants raw_exec enabled and an agent that runs as root.

variable "node" {
  description = "Name of the one node; empty for all."
  default     = ""
}

variable "plugin_id" {
  description = "What volumes name as plugin_id; empty for cleat-<node>, or cleat."
  default     = ""
}

variable "socket" {
  description = "csi.socket of the daemon."
  default     = "/run/cleat/csi.sock"
}

variable "data_dir" {
  description = "data_dir of the Nomad clients; its path at most 42 bytes long, because a socket's has a limit."
  default     = "/opt/nomad/data"
}

variable "shim" {
  description = "The script, on the machine where the job is submitted."
  default     = "cleat-csi-shim"
}

locals {
  id = var.plugin_id != "" ? var.plugin_id : var.node != "" ? "cleat-${var.node}" : "cleat"
  # Must be this path: raw_exec has no file system of its own in which another would mean something. The shim checks it.
  base = "${var.data_dir}/client/csi/monolith/${local.id}"
}

job "plugin-cleat" {
  id       = "plugin-${local.id}"
  name     = "plugin-${local.id}"
  type     = "system" # stopped last when a node is drained: who unpublishes volumes needs it
  priority = 90

  dynamic "constraint" {
    for_each = var.node == "" ? [] : [var.node]
    content {
      attribute = "${node.unique.name}"
      value     = constraint.value
    }
  }

  group "plugin" {
    # Never given up: the daemon may come up later.
    restart {
      interval = "1m"
      attempts = 10
      delay    = "3s"
      mode     = "delay"
    }

    task "shim" {
      driver = "raw_exec"

      config {
        command = "${NOMAD_TASK_DIR}/cleat-csi-shim"
        args    = [var.socket, local.base]
      }

      template {
        data        = file(var.shim)
        destination = "local/cleat-csi-shim"
        perms       = "0755"
        change_mode = "noop"
        # Nothing in the script is to be replaced.
        left_delimiter  = "[[[["
        right_delimiter = "]]]]"
      }

      csi_plugin {
        id                     = local.id
        type                   = "monolith" # every daemon is controller and node
        stage_publish_base_dir = local.base
      }

      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
