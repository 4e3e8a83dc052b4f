/* What the files of the codec share: one decoder and one encoder per dialect, and the
   judgement of a ballot. */
#ifndef CK_CODEC_H
#define CK_CODEC_H

#include "keytype.h"
#include "privval.h"

/* Each writes *out (or *len) on CK_OK only. Bodies are without length prefix; encoders
   write the prefix. */
CK_MUST_CHECK int ck_proto_decode(ck_bytes body, ck_message *out);
CK_MUST_CHECK int ck_proto_encode(const ck_message *message, uint8_t *out, size_t cap, size_t *len);
CK_MUST_CHECK int ck_amino_decode(ck_bytes body, ck_message *out);
CK_MUST_CHECK int ck_amino_encode(const ck_message *message, uint8_t *out, size_t cap, size_t *len);

/* Why a decoded ballot may not be signed, or CK_REASON_NONE. The first that applies, in the order
 * of enum ck_reason. With skip_extension nobody looks at the extension, as FilePV v1.x does
 * (privval/file.go signVote). */
CK_MUST_CHECK int ck_judge_ballot(int is_proposal, int skip_extension, const ck_ballot *ballot);

int ck_block_is_nil(const ck_block_id *block_id);
int32_t ck_step_of(int32_t type);

#endif
