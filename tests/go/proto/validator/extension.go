//go:build !noextension

package main

import (
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

func extend(vote *cmtproto.Vote, extension string) { vote.Extension = unhex(extension) }

func extensionSignature(vote *cmtproto.Vote) []byte { return vote.ExtensionSignature }

// verifiesExtension: a non-nil precommit has its extension's signature, and every other vote has none.
func (v *validator) verifiesExtension(chain string, asked, vote *cmtproto.Vote) bool {
	if asked.Type == cmtproto.PrecommitType && len(asked.BlockID.Hash) > 0 {
		return v.pubKey.VerifySignature(types.VoteExtensionSignBytes(chain, asked), vote.ExtensionSignature)
	}
	return len(vote.ExtensionSignature) == 0
}
