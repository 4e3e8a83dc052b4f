/* Declarations for cffi: what cometkms/native calls. */
enum ck_status { CK_OK, CK_MORE, CK_MALFORMED, CK_TOO_LARGE, CK_NO_ROOM, CK_BAD_TAG, CK_EXHAUSTED, CK_LOW_ORDER, CK_REFUSED,
                 CK_NO_SODIUM, ... };
#define CK_CHAIN_ID_MAX ...
#define CK_HASH_BYTES ...
#define CK_ADDRESS_BYTES ...
#define CK_MESSAGE_MAX ...
#define CK_RESPONSE_MAX ...
#define CK_SIGN_BYTES_MAX ...
#define CK_EXTENSION_SIGN_BYTES_MAX ...
#define CK_ERROR_TEXT_MAX ...
#define CK_FRAME_DATA ...
#define CK_FRAME_SEALED ...
#define CK_INBOX ...
#define CK_QUEUE_SLOT ...
#define CK_RING_SLOTS ...
#define CK_RING_PAYLOAD ...

typedef struct ck_bytes { const uint8_t *at; size_t len; } ck_bytes;
typedef struct ck_timestamp { int64_t seconds; int32_t nanos; } ck_timestamp;
typedef struct ck_block_id { ck_bytes hash; uint32_t parts_total; ck_bytes parts_hash; } ck_block_id;
typedef struct ck_ballot {
    int32_t type; int64_t height; int32_t round; int32_t pol_round; ck_block_id block_id; ck_timestamp timestamp;
    ck_bytes validator_address; int32_t validator_index; ck_bytes signature; ck_bytes extension; ck_bytes extension_signature;
} ck_ballot;
typedef struct ck_message {
    int32_t kind; int32_t has_ballot; int32_t has_error; int32_t error_code; ck_bytes error_text; ck_bytes chain_id;
    ck_bytes pub_key; ck_ballot ballot;
} ck_message;
typedef struct ck_request {
    int32_t kind; int32_t reason; int64_t height; int32_t round; int32_t step; ck_timestamp timestamp;
    uint32_t wants_extension; uint32_t sign_bytes_len; uint8_t sign_bytes[...];
} ck_request;
typedef struct ck_sign_bytes {
    int32_t type; int32_t round; int64_t height; int32_t step; int32_t pol_round; ck_timestamp timestamp;
    ck_bytes block_hash; ck_bytes chain_id; size_t timestamp_at; size_t timestamp_len;
} ck_sign_bytes;

int ck_read_length(const uint8_t *at, size_t left, size_t max, size_t *length, size_t *used);
int ck_decode_message(int dialect, const uint8_t *body, size_t len, ck_message *out);
int ck_encode_message(int dialect, const ck_message *message, uint8_t *out, size_t cap, size_t *len);
void ck_check_request(int dialect, ck_bytes chain_id, const ck_message *message, ck_request *out);
int ck_extension_sign_bytes(ck_bytes chain_id, int64_t height, int32_t round, ck_bytes extension, uint8_t *out, size_t cap,
                            size_t *len);
int ck_parse_sign_bytes(const uint8_t *bytes, size_t len, ck_sign_bytes *out);
int ck_same_but_timestamp(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

int ck_sodium_load(const char *path, char *error, size_t error_cap);
typedef struct ck_sodium_table {
    int (*verify_detached)(const uint8_t *, const uint8_t *, unsigned long long, const uint8_t *);
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

typedef struct ck_slot { uint8_t public_key[32]; int64_t height; int32_t round; int32_t step; size_t marked_len; ...; } ck_slot;
int ck_slot_open(ck_slot *slot, char *base64, size_t base64_len, ck_bytes chain_id);
void ck_slot_close(ck_slot *slot);
void ck_slot_raise(ck_slot *slot, int64_t height, int32_t round, int32_t step, ck_bytes sign_bytes);
int ck_slot_sign(ck_slot *slot, const uint8_t *bytes, size_t len, uint8_t *signature);

typedef struct ck_session { ck_request request; ck_message message; uint8_t outbox[...]; uint8_t inbox[...]; ...; } ck_session;
int ck_session_open(ck_session *s, int dialect, ck_bytes chain_id, const ck_frames *frames, ck_bytes pending);
void ck_session_wipe(ck_session *s);
int ck_session_received(ck_session *s, size_t size);
int ck_session_next(ck_session *s, ck_request *out);
int ck_session_partial(const ck_session *s);
int ck_session_pong(ck_session *s, size_t *len);
int ck_session_pub_key(ck_session *s, const uint8_t *public_key, size_t *len);
int ck_session_error(ck_session *s, int32_t code, ck_bytes text, size_t *len);
int ck_session_empty(ck_session *s, size_t *len);
int ck_session_sign(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len, uint8_t *signature, size_t *len);
int ck_session_repeat(ck_session *s, ck_slot *slot, const uint8_t *bytes, size_t bytes_len, const uint8_t *signature, size_t *len);

typedef struct ck_ring { ...; } ck_ring;
int ck_ring_push(ck_ring *ring, const uint8_t *message, size_t len);
int ck_ring_pop(ck_ring *ring, uint8_t *out, size_t *len);
size_t ck_ring_size(void);
