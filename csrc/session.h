/* A privval session after the handshake: ciphertext in, requests out; outcomes in, ciphertext out.
 * One request at a time. The caller owns the whole struct (anonymous memory: untouched pages cost
 * nothing) and nothing here allocates. */
#ifndef CK_SESSION_H
#define CK_SESSION_H

#include "frames.h"
#include "keyslot.h"
#include "noise.h"
#include "privval.h"

#define CK_PLAIN_CAP (CK_MESSAGE_MAX + 10 + CK_INBOX + CK_NOISE_SEALED)
#define CK_OUTBOX_CAP ((CK_RESPONSE_MAX / CK_FRAME_DATA + 1) * CK_FRAME_SEALED)

/* What is around the messages on the way: nothing (unix://), SecretConnection (tcp://),
   Noise (noise://). */
enum ck_channel { CK_PLAIN = 0, CK_SECRET = 1, CK_NOISE = 2 };

typedef struct ck_session {
    ck_frames frames;
    int32_t channel; /* enum ck_channel */
    int32_t dialect;
    int32_t line;    /* enum ck_line: which one the validator is of, as far as its votes have told */
    int32_t pending; /* a request waits for its answer */
    uint8_t chain_id[CK_CHAIN_ID_MAX];
    size_t chain_id_len;
    size_t plain_at;     /* consumed */
    size_t plain_len;    /* filled */
    size_t message_size; /* of the pending request, its length prefix included */
    ck_message message;  /* the pending request; borrows from plain */
    ck_request request;
    uint8_t response[CK_RESPONSE_MAX];
    uint8_t outbox[CK_OUTBOX_CAP];
    uint8_t inbox[CK_INBOX];
    uint8_t plain[CK_PLAIN_CAP];
    uint8_t scratch[CK_EXTENSION_SIGN_BYTES_MAX];
    ck_noise noise;
} ck_session;

/* `session` is zeroed memory. frames and noise NULL: plain bytes; one of them at most. `pending`:
 * plain bytes that came behind the handshake. */
CK_MUST_CHECK int ck_session_open(ck_session *s, int dialect, ck_bytes chain_id, const ck_frames *frames,
                                  const ck_noise *noise, ck_bytes pending);
void ck_session_wipe(ck_session *s);

/* `size` bytes of the inbox were filled: open their frames. */
CK_MUST_CHECK int ck_session_received(ck_session *s, size_t size);

/* CK_OK: a request is in *out and waits for its answer. CK_MORE: receive more. */
CK_MUST_CHECK int ck_session_next(ck_session *s, ck_request *out);

/* Whether part of a frame or message has arrived. */
int ck_session_partial(const ck_session *s);

/* Each writes `*len` bytes to the outbox and ends the pending request. CK_REFUSED: there is none,
 * or what interface.Session says; the request is then still pending and nothing was signed. */
CK_MUST_CHECK int ck_session_pong(ck_session *s, size_t *len);
CK_MUST_CHECK int ck_session_pub_key(ck_session *s, int32_t type, ck_bytes public_key, size_t *len);
CK_MUST_CHECK int ck_session_error(ck_session *s, int32_t code, ck_bytes text, size_t *len);
CK_MUST_CHECK int ck_session_empty(ck_session *s, size_t *len);
/* ck_slot_prepare() for what the pending request asks to be signed, its extension's
   signature too. */
void ck_session_prepare(ck_session *s, ck_slot *slot);
CK_MUST_CHECK int ck_session_sign(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len,
                                  uint8_t signature[CK_SIGNATURE_MAX], size_t *len);
CK_MUST_CHECK int ck_session_repeat(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len,
                                    ck_bytes signature, size_t *len);

/* SignBytes or SignRawBytes, whichever is pending; CK_REFUSED: neither is, or the slot refuses,
   with nothing signed. */
CK_MUST_CHECK int ck_session_sign_bytes(ck_session *s, const ck_slot *slot, uint8_t signature[CK_SIGNATURE_MAX],
                                        size_t *len);

/* The pending request as it came, its length prefix included; empty: there is none. */
ck_bytes ck_session_pending(const ck_session *s);

/* An agent's request, whole, takes the place of whatever the session had; for CK_PLAIN only.
 * CK_MORE: it is not exactly one whole message of this dialect, and the session is empty. */
CK_MUST_CHECK int ck_session_ask(ck_session *s, int dialect, ck_bytes message);
void ck_session_forget(ck_session *s);

/* What another signer answered to the pending request, its length prefix included:
 * judged, and encoded anew for the validator. *refused: it is a final no and not a
 * signature of the key over exactly what was asked, but for the timestamp. CK_MORE: it
 * is neither, and the request is still pending. */
CK_MUST_CHECK int ck_session_relay(ck_session *s, int32_t type, ck_bytes public_key, ck_bytes answer, int *refused,
                                   size_t *len);

#endif
