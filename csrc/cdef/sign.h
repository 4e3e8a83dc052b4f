/* csrc/agent_link.h, audit.h, sign.h and relay.h as cffi reads them. */
enum ck_outcome {
    CK_OUTCOME_BEGAN = 1, CK_OUTCOME_SIGNED = 2, CK_OUTCOME_REPEATED = 3, CK_OUTCOME_REFUSED = 4, CK_OUTCOME_UNANSWERED = 5,
    CK_OUTCOME_ENDED = 6, CK_OUTCOME_FOLDED = 7, CK_OUTCOME_SIGNED_BYTES = 8, CK_OUTCOME_REFUSED_BYTES = 9
};
typedef struct ck_audit { ck_ring *ring; int wake; uint64_t life; uint64_t number; ...; } ck_audit;
typedef struct ck_asker { uint8_t identity[...]; size_t identity_len; uint8_t name[...]; size_t name_len; ...; } ck_asker;
typedef struct ck_decision {
    uint8_t outcome; uint8_t reason; uint8_t kind; uint16_t chain; ck_hrs at; uint64_t took_ns; ck_bytes bytes; ck_bytes block_hash; ...;
} ck_decision;
void ck_audit_note(ck_audit *audit, const ck_decision *decision, const ck_asker *asker);
#define CK_DONE ...
typedef struct ck_agent_link {
    ck_frames *frames; int fd; int32_t blocked; size_t unsent; uint8_t out[...]; uint8_t inbox[...]; uint8_t plain[...]; ...;
} ck_agent_link;
#define CK_AGENT_MESSAGE_MAX ...
typedef struct ck_ask { uint64_t seq; ck_bytes chain_id; uint64_t dialect; int32_t urgent; ck_bytes message; ...; } ck_ask;
typedef struct ck_answer { uint64_t seq; ck_bytes message; ...; } ck_answer;
int ck_take_ask(ck_bytes in, ck_ask *out, size_t *used);
int ck_take_answer(ck_bytes in, ck_answer *out, size_t *used);
int ck_agent_ask(const ck_calls *calls, ck_agent_link *link, const ck_ask *ask);
int ck_agent_answer(const ck_calls *calls, ck_agent_link *link, const ck_answer *answer);
typedef struct ck_sign_lane {
    ck_session *session; ck_agent_link *agent; uint64_t seq; int32_t asked; int fd; int32_t blocked; uint16_t chain; uint32_t number; ck_asker asker; size_t unsent_at; size_t unsent; ...;
} ck_sign_lane;
typedef struct ck_desk { ck_agent_link link; uint32_t chains; ck_sign_lane *of[...]; ...; } ck_desk;
typedef struct ck_section {
    ck_slot *slot; int32_t open; ck_hrs last; size_t bytes_len; uint8_t bytes[...]; size_t signature_len; uint8_t signature[...];
    int32_t unreported; ck_sign_lane *asker; uint64_t request_id; uint64_t started_ns; uint64_t since_ns; ...;
} ck_section;
typedef struct ck_done {
    uint16_t chain; uint32_t link; ck_hrs at; uint64_t at_ns; uint64_t took_ns; uint8_t block_hash[...]; size_t block_hash_len; ...;
} ck_done;
typedef struct ck_signer {
    const ck_calls *calls; uint64_t nonce; ck_ring *reservations; int reservations_wake; ck_ring *permits; ck_audit *audit; uint32_t chains; ck_section sections[...];
    uint64_t done_from; uint64_t done_to; ck_done done[...]; uint32_t answered[...]; uint8_t rest[...]; size_t rest_len; ...;
} ck_signer;
#define CK_NOTHING ...
#define CK_REQUEST ...
#define CK_RESERVED ...
int ck_sign_lane_turn(ck_signer *signer, ck_sign_lane *link, int *found, int *error);
int ck_signer_take(ck_signer *signer, uint32_t *answered, uint32_t *taken);
int ck_desk_turn(ck_signer *signer, ck_desk *desk, int serve, uint32_t *reserved, size_t *rest_at, size_t *rest_len, int *error);
typedef struct ck_end {
    ck_session *session; int fd; int32_t blocked; uint64_t seq; int32_t key_type; size_t public_key_len; uint8_t public_key[...]; size_t unsent_at; size_t unsent; ...;
} ck_end;
typedef struct ck_relay { const ck_calls *calls; uint32_t ends; ck_end *of[...]; uint32_t answered[...]; int32_t refused[...]; ...; } ck_relay;
#define CK_RELAY_NOTHING ...
#define CK_RELAY_REQUEST ...
#define CK_RELAY_ASKED ...
int ck_end_turn(const ck_relay *relay, ck_end *end, ck_agent_link *node, uint64_t seq, int *found, int *error);
int ck_node_turn(ck_relay *relay, ck_agent_link *node, int serve, uint32_t *answered, size_t *rest_at, size_t *rest_len, int *error);
