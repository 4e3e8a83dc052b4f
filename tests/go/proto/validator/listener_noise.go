//go:build noise

package main

import (
	"fmt"
	"os"

	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/lp2p"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
)

// nodeKey is the one of $NODE_KEY, made where it is missing, as a node's start does it.
func nodeKey() *p2p.NodeKey {
	key, err := p2p.LoadOrGenNodeKey(os.Getenv("NODE_KEY"))
	must(err)
	return key
}

func listen(address string) (*privval.SignerListenerEndpoint, error) {
	if os.Getenv("NODE_KEY") == "" {
		return privval.NewSignerListener(address, log.NewNopLogger())
	}
	return privval.NewSignerListenerFromAddr(address, nodeKey().PrivKey, log.NewNopLogger())
}

// showPeerID prints what `cometbft show-node-id --libp2p` prints.
func showPeerID() {
	id, err := lp2p.IDFromPrivateKey(nodeKey().PrivKey)
	must(err)
	fmt.Println(id.String())
}
