//go:build noextension

package main

import (
	"errors"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
)

// Before v0.38 a vote has no extension. The fields of an answer that such a line does not know are passed over.
func extend(_ *cmtproto.Vote, extension string) {
	if extension != "" {
		must(errors.New("this line has no vote extensions"))
	}
}

func extensionSignature(*cmtproto.Vote) []byte { return nil }

func (v *validator) verifiesExtension(string, *cmtproto.Vote, *cmtproto.Vote) bool { return true }
