/* csrc/store.h and hot.h as cffi reads them. */
#define CK_ROWS_MAX ...
#define CK_MEMBERS_MAX ...
#define CK_BATCH ...
#define CK_SECTOR ...
#define CK_BLOCK ...
#define CK_SEQ_MAX ...
#define CK_SEQ_STEP_MAX ...
typedef struct ck_hrs { int64_t height; int32_t round; int32_t step; } ck_hrs;
typedef struct ck_reservation { int32_t state; uint16_t chain; uint64_t nonce; uint64_t request_id; uint64_t started_ns; ck_hrs at; size_t bytes_len; uint8_t bytes[...]; ...; } ck_reservation;
typedef struct ck_row {
    uint8_t key[32]; uint8_t chain_id[...]; size_t chain_id_len; uint32_t first_block; int32_t served; int32_t open; ck_hrs mark;
    size_t bytes_len; uint8_t bytes[...]; size_t signature_len; uint8_t signature[...]; uint64_t count; uint64_t sequence; int32_t newest;
    ck_hrs floor; int64_t reach; ...;
} ck_row;
typedef struct ck_incarnation { uint64_t number; uint64_t nonce; } ck_incarnation;
typedef struct ck_store {
    int fd; int error; uint64_t seq_base; ck_incarnation own; uint32_t rows_len; ck_row rows[...]; uint64_t syncs; uint64_t sync_ns; uint64_t active_ns; ...;
} ck_store;
uint64_t ck_store_seq(const ck_store *store);
typedef struct ck_lane { ck_frames *frames; int fd; int32_t blocked; uint32_t member; uint64_t served; uint64_t promised_ns; uint64_t accepted_ns; size_t unsent; uint8_t out[...]; ...; } ck_lane;
typedef struct ck_hot {
    const ck_calls *calls; uint64_t nonce; uint32_t quorum; uint32_t members; uint16_t row_of[...]; uint32_t chains; ck_store store; ck_reservation places[...];
    ck_lane *lanes[...]; uint64_t seq_of[...]; ck_incarnation incarnation_of[...]; ck_ring *permits; int permits_wake;
    uint64_t permitted; uint64_t permit_ns; uint64_t answered; uint8_t plain[...]; uint8_t rest[...]; uint32_t rest_len[...]; ...;
} ck_hot;
int ck_lane_turn(ck_hot *hot, ck_lane *lane, int serve, int may, size_t *rest_at, size_t *rest_len, int *error);
int ck_hot_take(ck_hot *hot, ck_ring *requests, int may, uint32_t *count, uint32_t *taken);
