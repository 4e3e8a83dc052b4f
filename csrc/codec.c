/* The two dialects behind one door. PROTOCOL §3. */
#include "codec.h"

enum { LONGEST_PREFIX = 3 }; /* CK_MESSAGE_MAX is under 2^21 */

_Static_assert(CK_MESSAGE_MAX < 1 << 21, "a length prefix may exceed LONGEST_PREFIX");

int ck_decode_message(int dialect, const uint8_t *body, size_t len, ck_message *out) {
    ck_bytes range = {body, len};
    if (len > CK_MESSAGE_MAX) {
        return CK_TOO_LARGE;
    }
    return dialect == CK_AMINO ? ck_amino_decode(range, out) : ck_proto_decode(range, out);
}

int ck_encode_message(int dialect, const ck_message *message, uint8_t *out, size_t cap, size_t *len) {
    if (cap > CK_MESSAGE_MAX + LONGEST_PREFIX) {
        cap = CK_MESSAGE_MAX + LONGEST_PREFIX; /* what no peer would read is not written either */
    }
    if (message->pub_key.len != 0) {
        const ck_key_type *type = ck_key_type_of(message->pub_key_number);
        if (!type || message->pub_key.len != type->public_len) {
            return CK_REFUSED;
        }
    }
    return dialect == CK_AMINO ? ck_amino_encode(message, out, cap, len) : ck_proto_encode(message, out, cap, len);
}
