/* SecretConnection (PROTOCOL §2): key schedule and sealed frames. */
#ifndef CK_FRAMES_H
#define CK_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "status.h"

typedef struct ck_frames {
    uint8_t recv_key[32]; /* secret */
    uint8_t send_key[32]; /* secret */
    uint64_t recv_counter;
    uint64_t send_counter;
    uint8_t partial[CK_FRAME_SEALED]; /* ciphertext of a frame that is not whole yet */
    size_t partial_len;
} ck_frames;

/* X25519, Merlin transcript, HKDF. Wipes what it made on the way. CK_LOW_ORDER for an all-zero
 * shared secret; CK_MALFORMED when the remote key is our own (a reflection). */
CK_MUST_CHECK int ck_key_schedule(const uint8_t secret[32], const uint8_t public_key[32], const uint8_t remote[32],
                                  ck_frames *out, uint8_t challenge[32]);

/* RFC 5869 with SHA-256 and no salt. len <= 255 * 32. */
void ck_hkdf_sha256(const uint8_t *secret, size_t secret_len, const uint8_t *info, size_t info_len, uint8_t *out,
                    size_t len);

/* How many bytes `len` bytes of data take on the wire; one frame at least. */
size_t ck_sealed_size(size_t len);

CK_MUST_CHECK int ck_frames_seal(ck_frames *frames, const uint8_t *data, size_t len, uint8_t *out, size_t cap,
                                 size_t *out_len);

/* Open every whole frame of partial + input; keep the rest. `cap` must hold
   ck_opened_max(len) bytes. */
CK_MUST_CHECK int ck_frames_open(ck_frames *frames, const uint8_t *input, size_t len, uint8_t *out, size_t cap,
                                 size_t *out_len);
size_t ck_opened_max(size_t len);

void ck_frames_wipe(ck_frames *frames);

#endif
