/* csi.h - the Container Storage Interface (v1.13) as services of the runtime: Identity, Controller,
 * GroupController and Node, each call one or a few requests to the engine.
 *
 *	cleat_csi_new -> cleat_csi_add (per role) -> cleat_rpc_server_start -> ... -> cleat_rpc_server_stop ->
 *	cleat_rpc_server_free -> cleat_csi_free -> cleat_engine_close
 *
 * Volume ids are the engine's.  Nothing is kept here: what COs must find again is in the records.
 */
#ifndef CLEAT_CSI_CSI_H
#define CLEAT_CSI_CSI_H

#include "rt/server.h"

#include <cleat/volume.h>

/* Before the keys of segments that a pool's configuration declares without a domain of their own. */
#define CLEAT_CSI_TOPOLOGY_PREFIX "topology.cleat/"
/* The key of the segment that says on which node a volume lies. */
#define CLEAT_CSI_NODE_KEY CLEAT_CSI_TOPOLOGY_PREFIX "node"
#define CLEAT_CSI_IDENTITY_NAME "csi.v1.Identity"

struct cleat_csi_config {
	const char *driver_name; /* of GetPluginInfo; at most 63 bytes; copied */
	unsigned max_volumes;	 /* that may be attached to this node; 0: no limit */
	bool attach;		 /* tell COs to call ControllerPublishVolume */
	/* Tell COs to call NodeStageVolume.  kubelet never calls NodeUnstageVolume while the volume's file
	 * system is mounted anywhere else, and ours is, in the daemon's own directory. */
	bool stage;
	/* Take MULTI_NODE_ access modes for volumes that lie on one node: its tasks may then share them. */
	bool local_multi_node;
	/* Growing is NodeExpandVolume's business alone, and ControllerExpandVolume not announced: for COs
	 * whose controller calls reach any node's daemon. */
	bool node_expand;
};

struct cleat_csi;

/* The engine is borrowed. */
enum cleat_code cleat_csi_new(struct cleat_engine *engine, struct cleat_rpc_server *server,
			      const struct cleat_csi_config *config, struct cleat_csi **csi_out,
			      struct cleat_error *err) CLEAT_MUST_CHECK;
/* Adds the four services to a role; they may go into several. */
enum cleat_code cleat_csi_add(struct cleat_csi *c, struct cleat_rpc_role *role,
			      struct cleat_error *err) CLEAT_MUST_CHECK;
/* After the server was freed (or never started); NULL is fine. */
void cleat_csi_free(struct cleat_csi *c);

#endif
