/* See rawbytes.h.
 *
 * Reading is as loose as gogoproto's, which takes whatever amino takes, and looser: a known field
 * of another type is passed over. So a value that any implementation could take for a vote is one
 * here. What it asks for besides is what every vote of every chain has, a type and a chain's id (an
 * extension: a height and a chain's id), so that a hash is hardly ever one. */
#include "rawbytes.h"

#include <string.h>

#include "codec.h"
#include "cursor.h"
#include "wire.h"

static const uint8_t DOMAIN[] = {'C', 'O', 'M', 'E', 'T', ':', ':', 'R', 'A', 'W', '_',
                                 'B', 'Y', 'T', 'E', 'S', ':', ':', 'S', 'I', 'G', 'N'};

/* What a loose reader finds in a body. `last_is_id`: by field number, whether the last such field
 * could be a chain's id. */
typedef struct found {
    int32_t type;
    int64_t height;
    int last_is_id[8];
} found;

/* A chain's id comes from a JSON file, so it is UTF-8; its encoding's shape is looked
   at, and no more. */
static int could_be_chain_id(ck_bytes text) {
    size_t behind = 0; /* continuation bytes that must follow */
    if (text.len == 0 || text.len > CK_CHAIN_ID_MAX) {
        return 0;
    }
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.at[i];
        if ((c & 0xc0) == 0x80 ? behind == 0 : behind != 0) {
            return 0;
        }
        if ((c & 0xc0) == 0x80) {
            behind--;
        } else {
            behind = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        }
        if (c >= 0xf8) {
            return 0;
        }
    }
    return behind == 0;
}

enum { EXTENSION_CHAIN = 4, VOTE_CHAIN = 6, PROPOSAL_CHAIN = 7 };

static void note(found *in, const ck_field *field) {
    if (field->number == 1 && field->wire == CK_VARINT) {
        in->type = (int32_t)(uint32_t)field->value;
    }
    if (field->number == 2 && field->wire == CK_FIXED64) {
        in->height = (int64_t)field->value;
    }
    if (field->number <= PROPOSAL_CHAIN && field->wire == CK_DELIMITED) {
        in->last_is_id[field->number] = could_be_chain_id(field->bytes);
    }
}

/* A body, without its length: loosely. */
static int body_reads_as_vote(ck_bytes body) {
    found in = {0};
    ck_reader reader = ck_reader_over(body);
    while (reader.left > 0) {
        ck_field field;
        if (ck_next_field(&reader, &field) != CK_OK) {
            return 0;
        }
        note(&in, &field);
    }
    const int is_ballot = ck_step_of(in.type) != 0 && (in.last_is_id[VOTE_CHAIN] || in.last_is_id[PROPOSAL_CHAIN]);
    return is_ballot || (in.height > 0 && in.last_is_id[EXTENSION_CHAIN]);
}

/* A body, without its length: exactly. It may lack what body_reads_as_vote() asks for,
   such as a chain's id. */
static int body_is_canonical(ck_bytes body) {
    uint8_t whole[CK_SIGN_BYTES_MAX];
    size_t len;
    ck_sign_bytes parsed;
    ck_writer writer = ck_writer_over(whole, sizeof whole);
    const size_t mark = ck_put_open(&writer);
    ck_put(&writer, body);
    ck_put_close(&writer, mark);
    return ck_written(&writer, &len) == CK_OK && ck_parse_sign_bytes(whole, len, &parsed) == CK_OK;
}

int ck_reads_as_vote(ck_bytes value) {
    if (body_reads_as_vote(value) || body_is_canonical(value)) {
        return 1;
    }
    ck_reader reader = ck_reader_over(value);
    uint64_t length; /* in any form: more bytes than it needs are read too */
    ck_bytes body;
    if (ck_take_varint(&reader, &length) != CK_OK || length != reader.left ||
        ck_take(&reader, length, &body) != CK_OK) {
        return 0;
    }
    return body_reads_as_vote(body) || body_is_canonical(body);
}

int ck_begins_as_raw_bytes(ck_bytes value) {
    return value.len >= sizeof DOMAIN && memcmp(value.at, DOMAIN, sizeof DOMAIN) == 0;
}

int ck_raw_bytes(ck_bytes chain_id, ck_bytes raw, ck_bytes unique_id, uint8_t *out, size_t cap, size_t *len) {
    ck_writer writer = ck_writer_over(out, cap);
    ck_put(&writer, (ck_bytes){DOMAIN, sizeof DOMAIN});
    const size_t mark = ck_put_open(&writer);
    ck_put_bytes(&writer, 1, chain_id);
    ck_put_bytes(&writer, 2, raw);
    ck_put_bytes(&writer, 3, unique_id);
    ck_put_close(&writer, mark);
    return ck_written(&writer, len);
}
