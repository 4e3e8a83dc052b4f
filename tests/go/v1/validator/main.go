// A validator's end of privval, as CometBFT v1.x itself makes it: SignerListenerEndpoint and SignerClient, and beside them an
// in-process FilePV. Reads one JSON request a line from standard input, writes one JSON answer a line, as tests/go/proto/validator does.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	cmtproto "github.com/cometbft/cometbft/api/cometbft/types/v1"
	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"
)

type request struct {
	Cmd       string `json:"cmd"`
	Target    string `json:"target"` // "" = the signer; "filepv" = an in-process FilePV
	Chain     string `json:"chain"`
	Type      int32  `json:"type"`
	Height    int64  `json:"height"`
	Round     int32  `json:"round"`
	PolRound  int32  `json:"pol_round"`
	Hash      string `json:"hash"`
	Total     uint32 `json:"total"`
	Parts     string `json:"parts"`
	Seconds   int64  `json:"seconds"`
	Nanos     int64  `json:"nanos"`
	Address   string `json:"address"`
	Extension string `json:"extension"`
	Skip      *bool  `json:"skip"` // skip_extension_signing; absent: true for all but precommits, as a node of a chain with extensions asks
	Value     string `json:"value"`
	KeyFile   string `json:"key_file"`
	StateFile string `json:"state_file"`
}

type answer struct {
	Error              string `json:"error,omitempty"`
	Remote             bool   `json:"remote,omitempty"` // a RemoteSignerError: final
	PubKey             string `json:"pub_key,omitempty"`
	KeyType            string `json:"key_type,omitempty"`
	Signature          string `json:"signature,omitempty"`
	ExtensionSignature string `json:"extension_signature,omitempty"`
	Seconds            int64  `json:"seconds"`
	Nanos              int64  `json:"nanos"`
	Verified           bool   `json:"verified"`
}

type validator struct {
	client *privval.SignerClient
	filePV *privval.FilePV
	pubKey crypto.PubKey
	chain  string
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: validator ADDRESS CHAIN")
		os.Exit(2)
	}
	endpoint, err := privval.NewSignerListener(os.Args[1], log.NewNopLogger())
	must(err)
	client, err := privval.NewSignerClient(endpoint, os.Args[2])
	must(err)
	v := &validator{client: client, chain: os.Args[2]}
	fmt.Println(`{"listening":true}`)
	lines := bufio.NewReaderSize(os.Stdin, 8<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var r request
		must(json.Unmarshal(line, &r))
		out, err := json.Marshal(v.do(&r))
		must(err)
		fmt.Println(string(out))
	}
}

func (v *validator) do(r *request) answer {
	if r.Chain == "" {
		r.Chain = v.chain
	}
	switch r.Cmd {
	case "pub_key":
		key, err := v.client.GetPubKey()
		if err != nil {
			return failed(err)
		}
		v.pubKey = key
		return answer{PubKey: hex.EncodeToString(key.Bytes()), KeyType: key.Type(), Verified: true}
	case "ping":
		if err := v.client.Ping(); err != nil {
			return failed(err)
		}
		return answer{Verified: true}
	case "filepv":
		v.filePV = privval.LoadFilePVEmptyState(r.KeyFile, r.StateFile)
		return answer{Verified: true}
	case "sign_bytes":
		signature, err := v.client.SignBytes(unhex(r.Value))
		if err != nil {
			return failed(err)
		}
		return answer{Signature: hex.EncodeToString(signature)}
	case "sign":
		if r.Type == int32(types.ProposalType) {
			return v.signProposal(r)
		}
		return v.signVote(r)
	}
	return failed(fmt.Errorf("unknown command %q", r.Cmd))
}

func (v *validator) target(r *request) types.PrivValidator {
	if r.Target == "filepv" {
		return v.filePV
	}
	return v.client
}

func (r *request) blockID() cmtproto.BlockID {
	return cmtproto.BlockID{
		Hash:          unhex(r.Hash),
		PartSetHeader: cmtproto.PartSetHeader{Total: r.Total, Hash: unhex(r.Parts)},
	}
}

func (v *validator) signVote(r *request) answer {
	vote := &cmtproto.Vote{
		Type: types.SignedMsgType(r.Type), Height: r.Height, Round: r.Round, BlockID: r.blockID(),
		Timestamp: time.Unix(r.Seconds, r.Nanos).UTC(), ValidatorAddress: unhex(r.Address), Extension: unhex(r.Extension),
	}
	signExtension := vote.Type == types.PrecommitType
	if r.Skip != nil {
		signExtension = !*r.Skip
	}
	asked := *vote
	if err := v.target(r).SignVote(r.Chain, vote, signExtension); err != nil {
		return failed(err)
	}
	signed := asked
	signed.Timestamp = vote.Timestamp
	ok := v.pubKey.VerifySignature(types.VoteSignBytes(r.Chain, &signed), vote.Signature)
	if signExtension && asked.Type == types.PrecommitType && len(asked.BlockID.Hash) > 0 {
		ok = ok && v.pubKey.VerifySignature(types.VoteExtensionSignBytes(r.Chain, &asked), vote.ExtensionSignature)
	} else {
		ok = ok && len(vote.ExtensionSignature) == 0
	}
	return answer{
		Signature: hex.EncodeToString(vote.Signature), ExtensionSignature: hex.EncodeToString(vote.ExtensionSignature),
		Seconds: vote.Timestamp.Unix(), Nanos: int64(vote.Timestamp.Nanosecond()), Verified: ok,
	}
}

func (v *validator) signProposal(r *request) answer {
	proposal := &cmtproto.Proposal{
		Type: types.ProposalType, Height: r.Height, Round: r.Round, PolRound: r.PolRound, BlockID: r.blockID(),
		Timestamp: time.Unix(r.Seconds, r.Nanos).UTC(),
	}
	asked := *proposal
	if err := v.target(r).SignProposal(r.Chain, proposal); err != nil {
		return failed(err)
	}
	asked.Timestamp = proposal.Timestamp
	return answer{
		Signature: hex.EncodeToString(proposal.Signature), Seconds: proposal.Timestamp.Unix(),
		Nanos: int64(proposal.Timestamp.Nanosecond()), Verified: v.pubKey.VerifySignature(types.ProposalSignBytes(r.Chain, &asked), proposal.Signature),
	}
}

func failed(err error) answer {
	var remote *privval.RemoteSignerError
	return answer{Error: err.Error(), Remote: errors.As(err, &remote)}
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
