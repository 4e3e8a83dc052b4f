// The floor: CometBFT's own signer server around a PrivValidator that does nothing but one fdatasync of one 512-byte sector and one
// ed25519 signature for each request. What a signer that syncs first cannot be faster than. With peers (the same program as
// "floor peer LISTEN FILE") it then asks them all, each syncs its own sector, and the first answer is enough: three nodes' floor.
// Several addresses, with commas, are several validators: requests that wait while a sync runs share the next one.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
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

	peers   []net.Conn
	answers chan byte // each peer echoes the request's number
	number  byte

	waiting chan chan error // requests of several validators
}

// shared is one sync for everybody who waits.
func (f *floor) shared() {
	for first := range f.waiting {
		batch := []chan error{first}
		for more := true; more; {
			select {
			case one := <-f.waiting:
				batch = append(batch, one)
			default:
				more = false
			}
		}
		err := f.sync()
		for _, one := range batch {
			one <- err
		}
	}
}

func (f *floor) reserve() error {
	if f.waiting == nil {
		return f.sync()
	}
	done := make(chan error, 1)
	f.waiting <- done
	return <-done
}

func (f *floor) GetPubKey() (crypto.PubKey, error) { return f.key.PubKey(), nil }

func (f *floor) sync() error {
	var sector [512]byte
	f.slot = 1 - f.slot
	f.number++
	sector[0] = f.number
	if _, err := f.file.WriteAt(sector[:], f.slot*4096); err != nil {
		return err
	}
	if err := syscall.Fdatasync(int(f.file.Fd())); err != nil || len(f.peers) == 0 {
		return err
	}
	for _, peer := range f.peers {
		if _, err := peer.Write(sector[:]); err != nil {
			return err
		}
	}
	for <-f.answers != f.number { // a late answer to an earlier request
	}
	return nil
}

func (f *floor) connect(addresses []string) {
	f.answers = make(chan byte, 16)
	for _, address := range addresses {
		conn, err := net.Dial("tcp", address)
		must(err)
		f.peers = append(f.peers, conn)
		go func() {
			var one [1]byte
			for {
				_, err := io.ReadFull(conn, one[:])
				must(err)
				f.answers <- one[0]
			}
		}()
	}
}

func servePeer(listen string, f *floor) {
	listener, err := net.Listen("tcp", listen)
	must(err)
	fmt.Println("started")
	conn, err := listener.Accept()
	must(err)
	var sector [512]byte
	for {
		_, err := io.ReadFull(conn, sector[:])
		must(err)
		must(f.sync())
		_, err = conn.Write(sector[:1])
		must(err)
	}
}

func (f *floor) SignVote(chain string, vote *cmtproto.Vote) error {
	if err := f.reserve(); err != nil {
		return err
	}
	signature, err := f.key.Sign(types.VoteSignBytes(chain, vote))
	vote.Signature = signature
	return err
}

func (f *floor) SignProposal(chain string, proposal *cmtproto.Proposal) error {
	if err := f.reserve(); err != nil {
		return err
	}
	signature, err := f.key.Sign(types.ProposalSignBytes(chain, proposal))
	proposal.Signature = signature
	return err
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: floor ADDRESS CHAIN FILE [PEER…] | floor peer LISTEN FILE")
		os.Exit(2)
	}
	file, err := os.OpenFile(os.Args[3], os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	must(err)
	_, err = file.Write(make([]byte, 1<<16))
	must(err)
	must(file.Sync())
	signer := &floor{key: ed25519.GenPrivKey(), file: file}
	if os.Args[1] == "peer" {
		servePeer(os.Args[2], signer)
	}
	signer.connect(os.Args[4:])
	addresses := strings.Split(os.Args[1], ",")
	if len(addresses) > 1 {
		signer.waiting = make(chan chan error, len(addresses))
		go signer.shared()
	}
	for _, one := range addresses {
		protocol, address := cmtnet.ProtocolAndAddress(one)
		dialer := privval.DialTCPFn(address, 3*time.Second, ed25519.GenPrivKey())
		if protocol == "unix" {
			dialer = privval.DialUnixFn(address)
		}
		endpoint := privval.NewSignerDialerEndpoint(log.NewNopLogger(), dialer, privval.SignerDialerEndpointConnRetries(100))
		must(privval.NewSignerServer(endpoint, os.Args[2], signer).Start())
	}
	fmt.Println("started")
	select {}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
