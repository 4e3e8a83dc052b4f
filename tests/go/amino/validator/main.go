// As tests/go/proto/validator, with Tendermint v0.33's own code: amino messages and handshake, no chain id in the requests, no extensions.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/tendermint/tendermint/crypto"
	"github.com/tendermint/tendermint/libs/log"
	"github.com/tendermint/tendermint/privval"
	"github.com/tendermint/tendermint/types"
)

type request struct {
	Cmd      string `json:"cmd"`
	Type     byte   `json:"type"`
	Height   int64  `json:"height"`
	Round    int    `json:"round"`
	PolRound int    `json:"pol_round"`
	Hash     string `json:"hash"`
	Total    int    `json:"total"`
	Parts    string `json:"parts"`
	Seconds  int64  `json:"seconds"`
	Nanos    int64  `json:"nanos"`
	Address  string `json:"address"`
}

type answer struct {
	Error     string `json:"error,omitempty"`
	Remote    bool   `json:"remote,omitempty"`
	PubKey    string `json:"pub_key,omitempty"`
	Signature string `json:"signature,omitempty"`
	Seconds   int64  `json:"seconds"`
	Nanos     int64  `json:"nanos"`
	Verified  bool   `json:"verified"`
}

var (
	client *privval.SignerClient
	pubKey crypto.PubKey
	chain  string
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: validator ADDRESS CHAIN")
		os.Exit(2)
	}
	chain = os.Args[2]
	endpoint, err := privval.NewSignerListener(os.Args[1], log.NewNopLogger())
	must(err)
	client, err = privval.NewSignerClient(endpoint)
	must(err)
	fmt.Println(`{"listening":true}`)
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var r request
		must(json.Unmarshal(line, &r))
		out, err := json.Marshal(do(&r))
		must(err)
		fmt.Println(string(out))
	}
}

func do(r *request) answer {
	block := types.BlockID{Hash: unhex(r.Hash), PartsHeader: types.PartSetHeader{Total: r.Total, Hash: unhex(r.Parts)}}
	when := time.Unix(r.Seconds, r.Nanos).UTC()
	switch {
	case r.Cmd == "pub_key":
		key, err := client.GetPubKey()
		if err != nil {
			return failed(err)
		}
		pubKey = key
		raw := key.Bytes() // amino: a prefix of five bytes
		return answer{PubKey: hex.EncodeToString(raw[len(raw)-32:]), Verified: true}
	case r.Cmd == "ping":
		if err := client.Ping(); err != nil {
			return failed(err)
		}
		return answer{Verified: true}
	case r.Cmd == "sign" && types.SignedMsgType(r.Type) == types.ProposalType:
		proposal := &types.Proposal{Type: types.ProposalType, Height: r.Height, Round: r.Round, POLRound: r.PolRound, BlockID: block, Timestamp: when}
		if err := client.SignProposal(chain, proposal); err != nil {
			return failed(err)
		}
		return signed(proposal.Signature, proposal.Timestamp, proposal.SignBytes(chain))
	case r.Cmd == "sign":
		vote := &types.Vote{Type: types.SignedMsgType(r.Type), Height: r.Height, Round: r.Round, BlockID: block, Timestamp: when, ValidatorAddress: unhex(r.Address)}
		if err := client.SignVote(chain, vote); err != nil {
			return failed(err)
		}
		return signed(vote.Signature, vote.Timestamp, vote.SignBytes(chain))
	}
	return failed(fmt.Errorf("unknown command %q", r.Cmd))
}

func signed(signature []byte, when time.Time, signBytes []byte) answer {
	return answer{
		Signature: hex.EncodeToString(signature), Seconds: when.Unix(), Nanos: int64(when.Nanosecond()),
		Verified: pubKey.VerifyBytes(signBytes, signature),
	}
}

func failed(err error) answer {
	_, remote := err.(*privval.RemoteSignerError)
	return answer{Error: err.Error(), Remote: remote}
}

func unhex(s string) []byte {
	out, err := hex.DecodeString(s)
	must(err)
	return out
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
