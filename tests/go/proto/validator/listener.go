//go:build !noise

package main

import (
	"fmt"
	"os"

	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/privval"
)

func listen(address string) (*privval.SignerListenerEndpoint, error) {
	return privval.NewSignerListener(address, log.NewNopLogger())
}

// showPeerID is of v0.40 only.
func showPeerID() {
	fmt.Fprintln(os.Stderr, "this line of CometBFT has no peer ids")
	os.Exit(2)
}
