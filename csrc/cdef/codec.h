/* csrc/status.h, bounds.h and privval.h as cffi reads them; the compiler checks every struct
   against the real one. */
enum ck_status {
    CK_OK = 0,
    CK_MORE = 1,
    CK_MALFORMED = -1,
    CK_TOO_LARGE = -2,
    CK_NO_ROOM = -3,
    CK_BAD_TAG = -4,
    CK_EXHAUSTED = -5,
    CK_LOW_ORDER = -6,
    CK_REFUSED = -7,
    CK_NO_SODIUM = -8,
    CK_CLOSED = -9,
    CK_SOCKET = -10,
    CK_DISK = -11,
    CK_NO_LIBRARY = -12
};

#define CK_CHAIN_ID_MAX ...
#define CK_HASH_BYTES ...
#define CK_ADDRESS_BYTES ...
#define CK_VOTE_EXTENSION_MAX ...
#define CK_MESSAGE_MAX ...
#define CK_RESPONSE_MAX ...
#define CK_SIGN_BYTES_MAX ...
#define CK_PREPARED_MAX ...
#define CK_EXTENSION_SIGN_BYTES_MAX ...
#define CK_ERROR_TEXT_MAX ...
#define CK_RAW_VALUE_MAX ...
#define CK_RAW_UNIQUE_ID_MAX ...
#define CK_RAW_UNIQUE_IDS_MAX ...
#define CK_FRAME_DATA ...
#define CK_FRAME_PLAIN ...
#define CK_FRAME_SEALED ...
#define CK_NOISE_PLAIN ...
#define CK_NOISE_SEALED ...
#define CK_INBOX ...
#define CK_QUEUE_SLOT ...
#define CK_SEAL_PASSES_MAX ...
#define CK_SEAL_MEMORY_MIN ...
#define CK_SEAL_MEMORY_MAX ...
#define CK_PUBLIC_KEY_MAX ...
#define CK_SIGNATURE_MAX ...
#define CK_SECRET_MAX ...
#define CK_AUDIT_VALIDATOR_MAX ...
#define CK_AUDIT_LINE_MAX ...

typedef struct ck_bytes {
    const uint8_t *at;
    size_t len;
} ck_bytes;

typedef struct ck_timestamp {
    int64_t seconds;
    int32_t nanos;
} ck_timestamp;

typedef struct ck_block_id {
    ck_bytes hash;
    uint32_t parts_total;
    ck_bytes parts_hash;
} ck_block_id;

typedef struct ck_ballot {
    int32_t type;
    int64_t height;
    int32_t round;
    int32_t pol_round;
    ck_block_id block_id;
    ck_timestamp timestamp;
    ck_bytes validator_address;
    int32_t validator_index;
    ck_bytes signature;
    ck_bytes extension;
    ck_bytes extension_signature;
} ck_ballot;

enum ck_dialect { CK_PROTO = 0, CK_AMINO = 1 };

enum ck_line { CK_LINE_UNKNOWN = 0, CK_LINE_V0 = 1, CK_LINE_V1 = 2 };

enum ck_kind {
    CK_UNKNOWN = 0,
    CK_PUB_KEY_REQUEST = 1,
    CK_PUB_KEY_RESPONSE = 2,
    CK_SIGN_VOTE_REQUEST = 3,
    CK_SIGNED_VOTE_RESPONSE = 4,
    CK_SIGN_PROPOSAL_REQUEST = 5,
    CK_SIGNED_PROPOSAL_RESPONSE = 6,
    CK_PING_REQUEST = 7,
    CK_PING_RESPONSE = 8,
    CK_SIGN_BYTES_REQUEST = 9,
    CK_SIGN_BYTES_RESPONSE = 10,
    CK_SIGN_RAW_BYTES_REQUEST = 11
};

enum ck_reason {
    CK_REASON_NONE = 0,
    CK_WRONG_CHAIN = 1,
    CK_EMPTY_CHAIN = 2,
    CK_MISSING_PAYLOAD = 3,
    CK_BAD_TYPE = 4,
    CK_NEGATIVE_HEIGHT = 5,
    CK_NEGATIVE_ROUND = 6,
    CK_BAD_BLOCK_ID = 7,
    CK_UNEXPECTED_EXTENSION = 8,
    CK_UNKNOWN_KIND = 9,
    CK_BAD_TIMESTAMP = 10,
    CK_BAD_POL_ROUND = 11,
    CK_BAD_ADDRESS = 12,
    CK_BYTES_NOT_ALLOWED = 13,
    CK_BAD_BYTES = 14,
    CK_BYTES_ARE_A_VOTE = 15
};

typedef struct ck_message {
    int32_t kind;
    int32_t has_ballot;
    int32_t has_error;
    int32_t error_code;
    ck_bytes error_text;
    ck_bytes chain_id;
    int32_t has_pub_key;
    int32_t skip_extension;
    int32_t pub_key_number;
    ck_bytes pub_key;
    ck_bytes pub_key_bytes;
    ck_bytes pub_key_type;
    ck_bytes value;
    ck_bytes unique_id;
    int32_t has_others;
    ck_ballot ballot;
} ck_message;

typedef struct ck_request {
    int32_t kind;
    int32_t reason;
    int64_t height;
    int32_t round;
    int32_t step;
    ck_timestamp timestamp;
    uint32_t wants_extension;
    uint32_t sign_bytes_len;
    uint8_t sign_bytes[224];
} ck_request;

typedef struct ck_sign_bytes {
    int32_t type;
    int32_t round;
    int64_t height;
    int32_t step;
    int32_t pol_round;
    ck_timestamp timestamp;
    ck_bytes block_hash;
    ck_bytes chain_id;
    size_t timestamp_at;
    size_t timestamp_len;
} ck_sign_bytes;

int ck_read_length(const uint8_t *at, size_t left, size_t max, size_t *length, size_t *used);

int ck_decode_message(int dialect, const uint8_t *body, size_t len, ck_message *out);

int ck_encode_message(int dialect, const ck_message *message, uint8_t *out, size_t cap, size_t *len);

void ck_check_request(int dialect, ck_bytes chain_id, const ck_message *message, ck_request *out);

int32_t ck_line_of(int dialect, const ck_message *message, int32_t known);

int ck_canonical(int dialect, const ck_ballot *ballot, ck_bytes chain_id, uint8_t *out, size_t cap,
                               size_t *len);

int ck_extension_sign_bytes(ck_bytes chain_id, int64_t height, int32_t round, ck_bytes extension,
                                          uint8_t *out, size_t cap, size_t *len);

int ck_parse_sign_bytes(const uint8_t *bytes, size_t len, ck_sign_bytes *out);

int ck_same_but_timestamp(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

/* csrc/rawbytes.h */
int ck_reads_as_vote(ck_bytes value);

int ck_begins_as_raw_bytes(ck_bytes value);

int ck_raw_bytes(ck_bytes chain_id, ck_bytes raw, ck_bytes unique_id, uint8_t *out, size_t cap, size_t *len);

/* csrc/codec.h */
int ck_judge_ballot(int is_proposal, int skip_extension, const ck_ballot *ballot);
