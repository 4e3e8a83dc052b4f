// The floor: CometBFT's own signer server around a PrivValidator that does nothing but one fdatasync of one 512-byte sector and one
// ed25519 signature for each request. What a signer that syncs first cannot be faster than.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/log"
	cmtnet "github.com/cometbft/cometbft/libs/net"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

type floor struct {
	key  crypto.PrivKey
	file *os.File
	slot int64
}

func (f *floor) GetPubKey() (crypto.PubKey, error) { return f.key.PubKey(), nil }

func (f *floor) sync() error {
	var sector [512]byte
	f.slot = 1 - f.slot
	sector[0] = byte(f.slot)
	if _, err := f.file.WriteAt(sector[:], f.slot*4096); err != nil {
		return err
	}
	return syscall.Fdatasync(int(f.file.Fd()))
}

func (f *floor) SignVote(chain string, vote *cmtproto.Vote) error {
	if err := f.sync(); err != nil {
		return err
	}
	signature, err := f.key.Sign(types.VoteSignBytes(chain, vote))
	vote.Signature = signature
	return err
}

func (f *floor) SignProposal(chain string, proposal *cmtproto.Proposal) error {
	if err := f.sync(); err != nil {
		return err
	}
	signature, err := f.key.Sign(types.ProposalSignBytes(chain, proposal))
	proposal.Signature = signature
	return err
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: floor ADDRESS CHAIN FILE")
		os.Exit(2)
	}
	file, err := os.OpenFile(os.Args[3], os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	must(err)
	_, err = file.Write(make([]byte, 1<<16))
	must(err)
	must(file.Sync())
	protocol, address := cmtnet.ProtocolAndAddress(os.Args[1])
	dialer := privval.DialTCPFn(address, 3*time.Second, ed25519.GenPrivKey())
	if protocol == "unix" {
		dialer = privval.DialUnixFn(address)
	}
	endpoint := privval.NewSignerDialerEndpoint(log.NewNopLogger(), dialer, privval.SignerDialerEndpointConnRetries(100))
	server := privval.NewSignerServer(endpoint, os.Args[2], &floor{key: ed25519.GenPrivKey(), file: file})
	must(server.Start())
	fmt.Println("started")
	select {}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
