# A local volume of 64 MiB with a file system of its own:
#
#   nomad volume create counter.volume.hcl
#
# To grow it, while no allocation uses it: write its id here, larger capacities, and the same command again.
name      = "counter"
type      = "host"
plugin_id = "cleat-dhv" # the name of the file in host_volume_plugin_dir
# id      = "..."       # only to change it

capacity_min = "64MiB"
capacity_max = "1GiB" # Nomad wants it wherever there is a capacity_min

capability {
  access_mode     = "single-node-single-writer"
  attachment_mode = "file-system"
}

parameters {
  fs   = "ext4"
  uid  = "65534" # the job runs as nobody
  gid  = "65534"
  mode = "0700"
}
