// A validator's end of privval, as CometBFT itself makes it: SignerListenerEndpoint and SignerClient. Reads one JSON request a line
// from standard input, writes one JSON answer a line. The same files are built against v0.34 to v0.40: the
// first two of these lines with the tag noextension, the last one with the tag noise. More pairs of ADDRESS and CHAIN
// are more validators in the same process: "load" asks all of them at once, everything else is of the first.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
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
	KeyFile   string `json:"key_file"`
	StateFile string `json:"state_file"`
	Heights   int64  `json:"heights"`
	Warmup    int64  `json:"warmup"`
	PauseUs   int64  `json:"pause_us"`
	RunMs     int64  `json:"run_ms"`
	WarmupMs  int64  `json:"warmup_ms"`
}

type answer struct {
	Error              string  `json:"error,omitempty"`
	Remote             bool    `json:"remote,omitempty"` // a RemoteSignerError: final
	PubKey             string  `json:"pub_key,omitempty"`
	Signature          string  `json:"signature,omitempty"`
	ExtensionSignature string  `json:"extension_signature,omitempty"`
	Seconds            int64   `json:"seconds"`
	Nanos              int64   `json:"nanos"`
	Verified           bool    `json:"verified"`
	Ns                 []int64 `json:"ns,omitempty"`
	TookNs             int64   `json:"took_ns,omitempty"`
	Gaps               []gap   `json:"gaps,omitempty"`
	Count              int64   `json:"count,omitempty"`
	RunNs              int64   `json:"run_ns,omitempty"`
}

// gap is a time without a signature: when it ended (unix nanoseconds) and how long it was.
type gap struct {
	EndNs int64 `json:"end_ns"`
	Ns    int64 `json:"ns"`
}

type validator struct {
	client *privval.SignerClient
	filePV *privval.FilePV
	pubKey crypto.PubKey
	chain  string
}

var all []*validator

func main() {
	if len(os.Args) == 2 && os.Args[1] == "peer-id" {
		showPeerID()
		return
	}
	if len(os.Args) < 3 || len(os.Args)%2 != 1 {
		fmt.Fprintln(os.Stderr, "usage: validator ADDRESS CHAIN [ADDRESS CHAIN]…")
		os.Exit(2)
	}
	for i := 1; i < len(os.Args); i += 2 {
		endpoint, err := listen(os.Args[i])
		must(err)
		client, err := privval.NewSignerClient(endpoint, os.Args[i+1])
		must(err)
		all = append(all, &validator{client: client, chain: os.Args[i+1]})
	}
	v := all[0]
	fmt.Println(`{"listening":true}`)
	lines := bufio.NewReaderSize(os.Stdin, 8<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var r request
		must(json.Unmarshal(line, &r))
		started := time.Now()
		a := v.do(&r)
		a.TookNs = time.Since(started).Nanoseconds()
		out, err := json.Marshal(a)
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
		for _, other := range all[1:] { // the same key, or another chain's
			if other.pubKey, err = other.client.GetPubKey(); err != nil {
				return failed(err)
			}
		}
		v.pubKey = key
		return answer{PubKey: hex.EncodeToString(key.Bytes()), Verified: true}
	case "ping":
		if err := v.client.Ping(); err != nil {
			return failed(err)
		}
		return answer{Verified: true}
	case "filepv":
		v.filePV = privval.LoadFilePVEmptyState(r.KeyFile, r.StateFile)
		return answer{Verified: true}
	case "load_filepv": // as a node's start does it: made if they are missing, else loaded with their state
		v.filePV = privval.LoadOrGenFilePV(r.KeyFile, r.StateFile)
		v.pubKey = v.filePV.Key.PubKey
		return answer{PubKey: hex.EncodeToString(v.pubKey.Bytes()), Verified: true}
	case "sign":
		if r.Type == int32(cmtproto.ProposalType) {
			return v.signProposal(r)
		}
		return v.signVote(r)
	case "bench":
		return v.bench(r)
	case "stream":
		return v.stream(r)
	case "load":
		return load(r)
	case "together":
		return together(r)
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
		Type: cmtproto.SignedMsgType(r.Type), Height: r.Height, Round: r.Round, BlockID: r.blockID(),
		Timestamp: time.Unix(r.Seconds, r.Nanos).UTC(), ValidatorAddress: unhex(r.Address),
	}
	extend(vote, r.Extension)
	asked := *vote
	if err := v.target(r).SignVote(r.Chain, vote); err != nil {
		return failed(err)
	}
	signed := asked
	signed.Timestamp = vote.Timestamp
	ok := v.pubKey.VerifySignature(types.VoteSignBytes(r.Chain, &signed), vote.Signature)
	ok = ok && v.verifiesExtension(r.Chain, &asked, vote)
	return answer{
		Signature: hex.EncodeToString(vote.Signature), ExtensionSignature: hex.EncodeToString(extensionSignature(vote)),
		Seconds: vote.Timestamp.Unix(), Nanos: int64(vote.Timestamp.Nanosecond()), Verified: ok,
	}
}

func (v *validator) signProposal(r *request) answer {
	proposal := &cmtproto.Proposal{
		Type: cmtproto.ProposalType, Height: r.Height, Round: r.Round, PolRound: r.PolRound, BlockID: r.blockID(),
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

// bench asks for proposal, prevote and precommit of `heights` heights, one after the other, and verifies every signature.
func (v *validator) bench(r *request) answer {
	times := make([]int64, 0, 3*r.Heights)
	block := request{Hash: fixed(1), Total: 1, Parts: fixed(2), PolRound: -1, Chain: r.Chain, Address: fixed(3)[:40]}
	for i := int64(0); i < r.Warmup+r.Heights; i++ {
		for _, kind := range []int32{int32(cmtproto.ProposalType), int32(cmtproto.PrevoteType), int32(cmtproto.PrecommitType)} {
			one := block
			one.Cmd, one.Type, one.Height = "sign", kind, r.Height+i
			if kind == int32(cmtproto.PrecommitType) {
				one.Extension = r.Extension
			}
			now := time.Now()
			one.Seconds, one.Nanos = now.Unix(), int64(now.Nanosecond())
			a := v.timed(&one)
			if a.Error != "" || !a.Verified {
				return failed(fmt.Errorf("height %d type %d: %s, verified %v", one.Height, kind, a.Error, a.Verified))
			}
			if i >= r.Warmup && (r.Extension == "" || kind == int32(cmtproto.PrecommitType)) {
				times = append(times, a.TookNs)
			}
			if r.PauseUs > 0 {
				time.Sleep(time.Duration(r.PauseUs) * time.Microsecond)
			}
		}
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return answer{Ns: times, Verified: true}
}

// load asks every validator's signer for prevote after prevote, all at once, each after its last answer, for RunMs after WarmupMs, and
// verifies one signature in 16: the verification of all of them would be most of the load.
func load(r *request) answer {
	type outcome struct {
		ns  []int64
		err error
	}
	done := make(chan outcome)
	begun := time.Now()
	from := begun.Add(time.Duration(r.WarmupMs) * time.Millisecond)
	until := from.Add(time.Duration(r.RunMs) * time.Millisecond)
	for _, v := range all {
		go func(v *validator) {
			found := outcome{}
			for height := r.Height; time.Now().Before(until) && found.err == nil; height++ {
				vote := &cmtproto.Vote{
					Type: cmtproto.PrevoteType, Height: height, Timestamp: time.Now(), ValidatorAddress: unhex(fixed(3)[:40]),
					BlockID: cmtproto.BlockID{Hash: unhex(fixed(1)), PartSetHeader: cmtproto.PartSetHeader{Total: 1, Hash: unhex(fixed(2))}},
				}
				started := time.Now()
				err := v.client.SignVote(v.chain, vote)
				took := time.Since(started)
				if err != nil {
					found.err = fmt.Errorf("%s height %d: %w", v.chain, height, err)
				} else if height%16 == 0 && !v.pubKey.VerifySignature(types.VoteSignBytes(v.chain, vote), vote.Signature) {
					found.err = fmt.Errorf("%s height %d: the signature does not verify", v.chain, height)
				} else if started.After(from) {
					found.ns = append(found.ns, took.Nanoseconds())
				}
				time.Sleep(time.Duration(r.PauseUs) * time.Microsecond)
			}
			done <- found
		}(v)
	}
	a := answer{Verified: true}
	for range all {
		one := <-done
		if one.err != nil {
			a.Verified, a.Error = false, one.err.Error()
		}
		a.Ns = append(a.Ns, one.ns...)
	}
	a.Count, a.RunNs = int64(len(a.Ns)), time.Since(from).Nanoseconds()
	sort.Slice(a.Ns, func(i, j int) bool { return a.Ns[i] < a.Ns[j] })
	return a
}

// together asks every validator's signer for the same prevote at the same time, and for the next when all have answered: several
// validators of one chain and key, each with its own clock.
func together(r *request) answer {
	type outcome struct {
		ns  int64
		err error
	}
	a := answer{Verified: true}
	done := make(chan outcome)
	for i := int64(0); i < r.Warmup+r.Heights; i++ {
		for number, v := range all {
			go func(v *validator, number int) {
				one := request{
					Type: int32(cmtproto.PrevoteType), Height: r.Height + i, Hash: fixed(1), Total: 1, Parts: fixed(2), Chain: v.chain,
					Address: fixed(3)[:40], Seconds: time.Now().Unix(), Nanos: int64(number),
				}
				b := v.timed(&one)
				var err error
				if b.Error != "" || !b.Verified {
					err = fmt.Errorf("height %d: %s, verified %v", one.Height, b.Error, b.Verified)
				}
				done <- outcome{b.TookNs, err}
			}(v, number)
		}
		for range all {
			one := <-done
			if one.err != nil {
				a.Verified, a.Error = false, one.err.Error()
			}
			if i >= r.Warmup {
				a.Ns = append(a.Ns, one.ns)
			}
		}
	}
	sort.Slice(a.Ns, func(i, j int) bool { return a.Ns[i] < a.Ns[j] })
	return a
}

// stream asks for prevote after prevote for RunMs, again and again until each is signed, and reports every time between two
// signatures that is longer than 20 ms.
func (v *validator) stream(r *request) answer {
	found := answer{Verified: true}
	one := request{Cmd: "sign", Type: int32(cmtproto.PrevoteType), Hash: fixed(1), Total: 1, Parts: fixed(2), Chain: r.Chain, Address: fixed(3)[:40]}
	started := time.Now()
	last := started
	for height := r.Height; time.Since(started) < time.Duration(r.RunMs)*time.Millisecond; height++ {
		one.Height, one.Seconds = height, time.Now().Unix()
		for {
			a := v.timed(&one)
			if a.Verified {
				break
			}
			if a.Error == "" {
				return failed(fmt.Errorf("height %d: the signature does not verify", height))
			}
			if time.Since(last) > 30*time.Second {
				return failed(fmt.Errorf("height %d: %s", height, a.Error))
			}
			time.Sleep(time.Millisecond)
		}
		now := time.Now()
		if took := now.Sub(last); took > 20*time.Millisecond {
			found.Gaps = append(found.Gaps, gap{now.UnixNano(), took.Nanoseconds()})
		}
		last = now
		found.Count++
		time.Sleep(time.Duration(r.PauseUs) * time.Microsecond)
	}
	return found
}

// timed measures the round trip alone, not the verification.
func (v *validator) timed(r *request) answer {
	vote := &cmtproto.Vote{
		Type: cmtproto.SignedMsgType(r.Type), Height: r.Height, Round: r.Round, BlockID: r.blockID(),
		Timestamp: time.Unix(r.Seconds, r.Nanos).UTC(), ValidatorAddress: unhex(r.Address),
	}
	extend(vote, r.Extension)
	proposal := &cmtproto.Proposal{
		Type: cmtproto.ProposalType, Height: r.Height, Round: r.Round, PolRound: r.PolRound, BlockID: r.blockID(), Timestamp: vote.Timestamp,
	}
	var err error
	var verified bool
	var took time.Duration
	// What was asked is what counts, with the answer's timestamp and signature: CometBFT takes no more from an answer, and a signer
	// may leave the rest of it empty.
	askedVote, askedProposal := *vote, *proposal
	started := time.Now()
	if r.Type == int32(cmtproto.ProposalType) {
		err = v.client.SignProposal(r.Chain, proposal)
		took = time.Since(started)
		askedProposal.Timestamp = proposal.Timestamp
		verified = err == nil && v.pubKey.VerifySignature(types.ProposalSignBytes(r.Chain, &askedProposal), proposal.Signature)
	} else {
		err = v.client.SignVote(r.Chain, vote)
		took = time.Since(started)
		askedVote.Timestamp = vote.Timestamp
		verified = err == nil && v.pubKey.VerifySignature(types.VoteSignBytes(r.Chain, &askedVote), vote.Signature)
	}
	a := answer{Verified: verified, TookNs: took.Nanoseconds()}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

func failed(err error) answer {
	var remote *privval.RemoteSignerError
	return answer{Error: err.Error(), Remote: errors.As(err, &remote)}
}

func fixed(b byte) string {
	out := make([]byte, 32)
	for i := range out {
		out[i] = b
	}
	return hex.EncodeToString(out)
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
