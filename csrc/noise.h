/* Noise transport messages, as libp2p's secure session frames them: uint16 length, big-endian, then
 * the ciphertext; no padding and no associated data (go-libp2p p2p/security/noise/rw.go). The
 * handshake is cometkms/wire/noise.py. Twin: cometkms/core/pure/noise.py. */
#ifndef CK_NOISE_H
#define CK_NOISE_H

#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "status.h"

typedef struct ck_noise {
    uint8_t recv_key[32]; /* secret */
    uint8_t send_key[32]; /* secret */
    uint64_t recv_counter;
    uint64_t send_counter;
    size_t partial_len;
    uint8_t partial[CK_NOISE_SEALED]; /* a message that is not whole yet, its length included */
} ck_noise;

/* How many bytes `len` bytes of data take on the wire: one message up to CK_NOISE_PLAIN of them;
   none takes nothing. */
size_t ck_noise_sealed_size(size_t len);

CK_MUST_CHECK int ck_noise_seal(ck_noise *noise, const uint8_t *data, size_t len, uint8_t *out, size_t cap,
                                size_t *out_len);

/* Open every whole message of partial + input; keep the rest. `cap` must hold ck_noise_opened_max()
 * of the input's length. */
CK_MUST_CHECK int ck_noise_open(ck_noise *noise, const uint8_t *input, size_t left, uint8_t *out, size_t cap,
                                size_t *out_len);
size_t ck_noise_opened_max(const ck_noise *noise, size_t len);

/* Keys, counters and what is not whole. */
void ck_noise_wipe(ck_noise *noise);

#endif
