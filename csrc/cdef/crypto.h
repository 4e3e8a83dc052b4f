/* csrc/sodium.h, merlin.h, frames.h, sealed.h, keyslot.h, session.h and ring.h as
   cffi reads them. */
#define CK_SEED_BASE64 ...
#define CK_RING_SLOTS ...
#define CK_RING_PAYLOAD ...

int ck_sodium_load(const char *path, char *error, size_t error_cap);
typedef struct ck_sodium_table {
    int (*verify_detached)(const uint8_t *, const uint8_t *, unsigned long long, const uint8_t *);
    int (*scalarmult)(uint8_t *, const uint8_t *, const uint8_t *);
    int (*scalarmult_base)(uint8_t *, const uint8_t *);
    void (*random)(void *, size_t);
    ...;
} ck_sodium_table;
extern ck_sodium_table ck_sodium;

typedef struct ck_merlin { ...; } ck_merlin;
void ck_merlin_init(ck_merlin *m, const uint8_t *label, size_t len);
void ck_merlin_append(ck_merlin *m, const char *label, const uint8_t *message, size_t len);
void ck_merlin_challenge(ck_merlin *m, const char *label, uint8_t *out, size_t len);

typedef struct ck_frames { uint8_t recv_key[32]; uint8_t send_key[32]; uint64_t recv_counter; uint64_t send_counter; ...; } ck_frames;
int ck_key_schedule(const uint8_t *secret, const uint8_t *public_key, const uint8_t *remote, ck_frames *out, uint8_t *challenge);
void ck_hkdf_sha256(const uint8_t *secret, size_t secret_len, const uint8_t *info, size_t info_len, uint8_t *out, size_t len);
size_t ck_sealed_size(size_t len);
int ck_frames_seal(ck_frames *frames, const uint8_t *data, size_t len, uint8_t *out, size_t cap, size_t *out_len);
int ck_frames_open(ck_frames *frames, const uint8_t *input, size_t len, uint8_t *out, size_t cap, size_t *out_len);
size_t ck_opened_max(size_t len);
void ck_frames_wipe(ck_frames *frames);

typedef struct ck_noise {
    uint8_t recv_key[32]; uint8_t send_key[32]; uint64_t recv_counter; uint64_t send_counter; size_t partial_len; ...;
} ck_noise;
size_t ck_noise_sealed_size(size_t len);
int ck_noise_seal(ck_noise *noise, const uint8_t *data, size_t len, uint8_t *out, size_t cap, size_t *out_len);
int ck_noise_open(ck_noise *noise, const uint8_t *input, size_t left, uint8_t *out, size_t cap, size_t *out_len);
size_t ck_noise_opened_max(const ck_noise *noise, size_t len);
void ck_noise_wipe(ck_noise *noise);

typedef struct ck_sealed {
    int32_t type; uint8_t public_key[...]; uint64_t passes; uint64_t memory; uint8_t salt[16]; uint8_t nonce[24]; uint8_t ciphertext[48];
} ck_sealed;
int ck_seal(ck_sealed *sealed, char *base64, size_t base64_len, ck_bytes passphrase);
int ck_unseal_base64(const ck_sealed *sealed, ck_bytes passphrase, char *base64);

enum ck_key_number { CK_ED25519 = 1, CK_SECP256K1 = 2, CK_BLS12_381 = 3, CK_SECP256K1ETH = 5 };
typedef struct ck_key_type { int32_t number; const char *name; size_t secret_len; size_t public_len; size_t signature_len; uint8_t amino[4]; ...; } ck_key_type;
const ck_key_type *ck_key_type_of(int32_t number);
int ck_verify(int32_t number, ck_bytes public_key, ck_bytes bytes, ck_bytes signature);
int ck_bls12_381_load(const char *path, char *error, size_t error_cap);
int ck_secp256k1_load(const char *path, char *error, size_t error_cap);

typedef struct ck_prepared { size_t len; ...; } ck_prepared;
typedef struct ck_slot { const ck_key_type *type; uint8_t public_key[...]; int64_t height; int32_t round; int32_t step; size_t marked_len; ck_prepared prepared; ck_prepared prepared_extension; ...; } ck_slot;
int ck_slot_open(ck_slot *slot, int32_t type, char *base64, size_t base64_len, ck_bytes chain_id);
int ck_slot_open_sealed(ck_slot *slot, const ck_sealed *sealed, ck_bytes passphrase, ck_bytes chain_id);
typedef int (*ck_outside_sign)(void *context, const uint8_t *bytes, size_t len, uint8_t *signature);
int ck_slot_open_outside(ck_slot *slot, int32_t type, const uint8_t *public_key, ck_outside_sign sign, void *context, ck_bytes chain_id);
extern "Python" int ck_sign_in_python(void *context, const uint8_t *bytes, size_t len, uint8_t *signature);
int ck_slot_cluster_secret(const ck_slot *slot, uint8_t *out);
void ck_slot_close(ck_slot *slot);
void ck_slot_raise(ck_slot *slot, int64_t height, int32_t round, int32_t step, ck_bytes sign_bytes);
void ck_slot_prepare(ck_slot *slot, const uint8_t *bytes, size_t len);
int ck_slot_sign(ck_slot *slot, const uint8_t *bytes, size_t len, uint8_t *signature);
int ck_slot_sign_extension(ck_slot *slot, const uint8_t *vote_bytes, size_t vote_len, ck_bytes extension, uint8_t *scratch, size_t cap,
                           uint8_t *signature);

int ck_slot_allow_bytes(ck_slot *slot, int32_t values, const ck_bytes *ids, size_t count);
int ck_slot_sign_value(const ck_slot *slot, ck_bytes value, uint8_t *signature);
int ck_slot_sign_raw(const ck_slot *slot, ck_bytes raw, ck_bytes unique_id, uint8_t *scratch, size_t cap, uint8_t *signature);

typedef struct ck_session { int32_t line; ck_request request; ck_message message; uint8_t outbox[...]; uint8_t inbox[...]; ...; } ck_session;
int ck_session_open(ck_session *s, int dialect, ck_bytes chain_id, const ck_frames *frames, const ck_noise *noise, ck_bytes pending);
void ck_session_wipe(ck_session *s);
int ck_session_received(ck_session *s, size_t size);
int ck_session_next(ck_session *s, ck_request *out);
int ck_session_partial(const ck_session *s);
int ck_session_pong(ck_session *s, size_t *len);
int ck_session_pub_key(ck_session *s, int32_t type, ck_bytes public_key, size_t *len);
int ck_session_error(ck_session *s, int32_t code, ck_bytes text, size_t *len);
int ck_session_empty(ck_session *s, size_t *len);
void ck_session_prepare(ck_session *s, ck_slot *slot);
int ck_session_sign(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len, uint8_t *signature, size_t *len);
int ck_session_repeat(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len, ck_bytes signature, size_t *len);
int ck_session_sign_bytes(ck_session *s, const ck_slot *slot, uint8_t *signature, size_t *len);

ck_bytes ck_session_pending(const ck_session *s);
int ck_session_ask(ck_session *s, int dialect, ck_bytes message);
void ck_session_forget(ck_session *s);
int ck_session_relay(ck_session *s, int32_t type, ck_bytes public_key, ck_bytes answer, int *refused, size_t *len);

typedef struct ck_ring { ...; } ck_ring;
int ck_ring_push(ck_ring *ring, const uint8_t *message, size_t len);
int ck_ring_pop(ck_ring *ring, uint8_t *out, size_t *len);
int ck_ring_await(ck_ring *ring, uint64_t ns);
size_t ck_ring_depth(ck_ring *ring);
size_t ck_ring_size(void);
