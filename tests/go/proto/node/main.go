// CometBFT's own node with its own commands: `init`, `show-node-id` and `start` (proxy_app=kvstore runs the application inside).
package main

import (
	"os"
	"path/filepath"

	cmd "github.com/cometbft/cometbft/cmd/cometbft/commands"
	"github.com/cometbft/cometbft/libs/cli"
	nm "github.com/cometbft/cometbft/node"
)

func main() {
	root := cmd.RootCmd
	root.AddCommand(cmd.InitFilesCmd, cmd.ShowNodeIDCmd, cmd.NewRunNodeCmd(nm.DefaultNewNode))
	base := cli.PrepareBaseCmd(root, "CMT", os.ExpandEnv(filepath.Join("$HOME", ".cometbft")))
	if err := base.Execute(); err != nil {
		os.Exit(1)
	}
}
