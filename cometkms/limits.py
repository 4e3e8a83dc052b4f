"""Every bound of the program, with its unit and its reason.

Relations between bounds are checked at import.
"""

from typing import Final

# --- what a request may hold (CometBFT types/, privval/) ---
CHAIN_ID_MAX_BYTES: Final = 64  # the vectors go to 52
CHAIN_ID_GENESIS_MAX_BYTES: Final = 50  # types/genesis.go MaxChainIDLen
BLOCK_HASH_BYTES: Final = 32  # tmhash.Size; 0 means "absent"
ADDRESS_BYTES: Final = 20  # of every type of key
# bls12_381, uncompressed; without the byte that tells the type (keytypes.py)
PUBLIC_KEY_MAX_BYTES: Final = 96
SIGNATURE_MAX_BYTES: Final = 96  # bls12_381, compressed
SECRET_MAX_BYTES: Final = 64  # ed25519: the seed and the public key behind it
VOTE_EXTENSION_MAX_BYTES: Final = 1 << 20  # CometBFT's MaxVoteExtensionSize
# one request: a 1 MiB extension and everything around it
MESSAGE_MAX_BYTES: Final = (1 << 20) + (64 << 10)
# what validators up to v1.0.1 are willing to read (privval maxRemoteSignerMsgSize)
RESPONSE_MAX_BYTES: Final = 10 << 10
# canonical proposal: 2+2+9+9+11+81+20+(2+CHAIN_ID_MAX) = 200, rounded up
SIGN_BYTES_MAX_BYTES: Final = 224
# canonical extension around 1 MiB
EXTENSION_SIGN_BYTES_MAX_BYTES: Final = VOTE_EXTENSION_MAX_BYTES + 128
# of sign bytes that are hashed before their permit; a longer extension is hashed after it
PREPARED_MAX_BYTES: Final = 4096
# bytes that are no vote: SignBytes' value, or Celestia's raw bytes
RAW_VALUE_MAX_BYTES: Final = 64 << 10
RAW_UNIQUE_ID_MAX_BYTES: Final = 128  # of Celestia's SignRawBytes; the longest in use has 21
RAW_UNIQUE_IDS_MAX: Final = 8  # that one chain allows
ERROR_TEXT_MAX_BYTES: Final = 1024  # a refusal's words; far below RESPONSE_MAX_BYTES

# --- SecretConnection (p2p/conn/secret_connection.go) ---
FRAME_DATA_BYTES: Final = 1024
FRAME_PLAIN_BYTES: Final = 4 + FRAME_DATA_BYTES
FRAME_SEALED_BYTES: Final = FRAME_PLAIN_BYTES + 16
# of one Noise message: its length takes two bytes, its tag sixteen of what they count
NOISE_PLAIN_BYTES: Final = 65535 - 16
NOISE_SEALED_BYTES: Final = 2 + 65535
# for message 2 to begin: a listener that serves another signer answers nobody meanwhile
NOISE_WAIT_S: Final = 20.0
NOISE_HANDSHAKE_MAX_BYTES: Final = 4096  # message 2; an honest one of an ed25519 identity has 202
# AuthSigMessage is 103 bytes; CometBFT itself reads at most 1 MiB, we need no more
HANDSHAKE_MESSAGE_MAX_BYTES: Final = 1024
# one recv: a whole 64 KiB burst, no request needs more at once
INBOX_BYTES: Final = 64 * FRAME_SEALED_BYTES

# --- time, seconds unless the name says otherwise ---
HANDSHAKE_TIMEOUT_S: Final = 10.0  # PROTOCOL "What each request gets"
PARTIAL_MESSAGE_TIMEOUT_S: Final = 10.0  # a half-sent request
# within it a node answers its operator whatever was asked; who asks waits a second more
CONTROL_TIMEOUT_S: Final = 8.0
TRANSFER_TIMEOUT_S: Final = 5.0  # for a leader that can be told to hand over, and for the next one
GIVEN_FILE_S: Final = 10.0  # for what a pipe that is named in a file's place gives next
IDLE_TIMEOUT_S: Final = 30.0  # validators ping every 3.3 s; nine lost pings is a dead peer
WRITE_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 3.0
# below CometBFT's 5 s read timeout, so that an empty answer still reaches it
PERMIT_TIMEOUT_S: Final = 2.0
# a permit is a disk's sync away: spinning so long saves a sleep and a wake-up (docs/PERFORMANCE.md)
PERMIT_SPIN_NS: Final = 400_000
# likewise for a validator's next request; at its real pace this is 0.03 % of a core
REQUEST_SPIN_NS: Final = 100_000
TURN_MAX_NS: Final = 2_000_000  # a connection's longest turn in the loop
REDIAL_MIN_S: Final = 0.05
REDIAL_MAX_S: Final = 1.0  # CometBFT exits at boot if nobody dials within 3 s
# also how often a process looks whether its part of the status board is to be written
HEARTBEAT_INTERVAL_S: Final = 0.25
CALM_BEAT_S: Final = 0.5  # of processes that no signature waits for
# a second, counted in heartbeats, or two calm ones: timers may be early by a millisecond
FOUR_BEATS_S: Final = 0.95
STATUS_QUIET_S: Final = 0.01  # the board is written when no request came for so long …
STATUS_LATEST_S: Final = FOUR_BEATS_S  # … and at the latest after this
# how often the supervisor reads what its children use: monitors ask every 5 s or more
PROCESS_USE_S: Final = 2.0
HUNG_AFTER_S: Final = 5.0  # a loop that did not beat for so long is killed and restarted
STOP_TIMEOUT_S: Final = 1.5  # SIGTERM to SIGKILL; the whole stop has 2 s …
# … but where a slow disk still has the state files to write: below the 10 s that containers get
STOP_WRITES_S: Final = 7.0
STATE_FILES_S: Final = 6.0  # for them, once everything else has ended
# the processes of a supervisor that was killed end at once; on a busy machine after a while
ORPHANS_WAIT_S: Final = 3.0
ORPHANS_LOOK_S: Final = 0.05  # how often a start looks whether they have
BOOT_TIMEOUT_S: Final = 30.0  # a child's start; the slowest opens a sealed key (SEAL_PASSES_MAX)
# a child that has not taken a reload over by then is reported; its loop beats eight times in this
RELOAD_TIMEOUT_S: Final = 2.0
RESTART_MIN_S: Final = 0.05
RESTART_MAX_S: Final = 5.0
RESTART_RESET_AFTER_S: Final = 10.0  # a child that lived so long starts again without back-off

# --- the promise store ---
SECTOR_BYTES: Final = 512  # the unit a disk writes whole
BLOCK_BYTES: Final = 4096  # slots of one record lie in different blocks
CHAINS_MAX: Final = 64  # rows of one store
# so full may a store be by rows that only other members show: one that lies leaves room for chains
SHOWN_ROWS_MAX: Final = CHAINS_MAX // 2
NODE_ID_MAX_BYTES: Final = 64
# of which a home remembers how they ended: who was away for longer is met as a stranger
EPOCHS_ENDED_MAX: Final = 16
MEMBERS_MAX: Final = 7
EPOCH_MAX: Final = 1 << 32  # a store's or a member's word for a higher one is not believed
MEMBER_IDS_MAX_BYTES: Final = 320  # all ids together fit one header sector
BIRTH_NONCE_BYTES: Final = 8  # seven of them fit the header's sector beside the ids
# of a birth, that a process remembers to have shown: a member may have completed one of them
SHOWN_RECORDS_MAX: Final = 8
SEQ_MAX: Final = (1 << 62) - 1  # of a store's promises; nobody makes a millionth of them
# what one word on a connection may add to it: thirty years at a thousand promises a second
SEQ_STEP_MAX: Final = 1 << 40
# how far one accusation raises a store's own seq (rule 8): years of promises that it forgot …
SEQ_RAISE_MAX: Final = 1 << 32
SEQ_RAISED_MAX: Final = 1 << 61  # … and no accusation raises it above this: as many are left for promises
INCARNATION_MAX: Final = (1 << 62) - 1  # stores that ever stood for one member
# incarnations that are believed whatever the clock says: a start a second for a century …
INCARNATION_ROOM: Final = 1 << 32
# … and so many more each second since RAFT_COUNTED_FROM_UNIX_S: no liar uses them up
INCARNATION_PER_S: Final = 1 << 10
INCARNATION_NONCE_MAX: Final = (1 << 63) - 1
# 2026-01-01: what the replicated log may have counted grows from here
RAFT_COUNTED_FROM_UNIX_S: Final = 1_767_225_600
# terms that are believed whatever the clock says: 4096 leaps of members that lost a journal …
RAFT_TERM_ROOM: Final = 1 << 44
RAFT_TERM_PER_S: Final = 1 << 26  # … and so many more each second, a leap a minute
# entries that are believed whatever the clock says: thirty years of a thousand a second …
RAFT_INDEX_ROOM: Final = 1 << 40
RAFT_INDEX_PER_S: Final = 1 << 10  # … and so many more each second
# entries that a leader may send before a majority holds them: a tenth of a second's work …
RAFT_UNCOMMITTED_MAX: Final = 1024
# … and with so many nobody stands for election: whoever leads commits them all at once
RAFT_UNCOMMITTED_OWN_MAX: Final = 512
# of a file that is read whole at a start; the log is compacted long before it has so much
RAFT_JOURNAL_MAX_BYTES: Final = 1 << 28
RAFT_ANEW_S: Final = 1.0  # a log that contradicts the leader's begins anew at most once in so long
JUMP_HEIGHTS: Final = 1000  # rule 13: so far above what is known to be signed a height may lie at once …
JUMP_HEIGHTS_PER_S: Final = 20  # … and so much farther with each second: eight times the quickest chain there is
# what signatures skip of the former comes back so fast: more than one place after another is ever
# signed
JUMP_SIGNED_PER_S: Final = 5000

# --- the peers (docs/ARCHITECTURE.md, "Peers") ---
PEER_FRAME_MAX_BYTES: Final = 256 << 10  # the largest honest one: 64 rows of marks, or a batch of the Raft log
PEER_HELLO_MAX_BYTES: Final = 16 << 10  # 64 rows, 7 members and the facts
FACTS_MAX: Final = 16  # a node says that many things of itself …
FACT_NAME_MAX_BYTES: Final = 32  # … each with a word …
FACT_TEXT_MAX_BYTES: Final = 160  # … and a line of text: shown, not parsed
PEER_HALF_OPEN_MAX: Final = 32  # connections that have not proved who they are
PEER_GREETINGS_MAX: Final = 4  # … and of each member those that have, and whose hellos are not both accepted
PEER_HANDSHAKE_TIMEOUT_S: Final = 3.0
PEER_OUTBOX_MAX_BYTES: Final = 1 << 20  # a peer that does not read so much is disconnected
PEER_PING_S: Final = 0.5
TCP_MAX_SEGMENT_MIN: Final = 536  # tcp_max_segment: what every IPv4 path takes (RFC 9293, section 3.7.1) …
TCP_MAX_SEGMENT_MAX: Final = 8960  # … to that of jumbo frames
# a longer round trip is beyond what elections are tried with (tests/sim/test_far.py)
PEER_FAR_S: Final = 0.4
PEER_SILENT_S: Final = 2.0  # four lost pings
START_READ_S: Final = 1.0  # rule 8: how long a starting node waits for members that do not answer
LEADER_READ_S: Final = 0.1  # rule 5: how long a new leader waits for hints
READ_AGAIN_S: Final = 0.5  # a read that was not answered is asked again
TICK_S: Final = 0.01  # a busy node's timer
TICK_MIN_S: Final = 0.001  # and no timer is shorter
# default_ttl: three heartbeats of the replicated log, which is heard every 50 ms
LEASE_MIN_S: Final = 0.15
LEASE_MAX_S: Final = 60.0  # … and so long a leader that is cut off keeps its validators from asking the next one
ALERT_MAX_S: Final = 168 * 3600.0  # a week: who wants no alert writes 0s
SIGNER_LEASE_RENEW_S: Final = 0.1  # how often the state process renews the signer's lease
# three renewals of the lease that the signer's loop did not answer with a beat: it does not move …
SIGNER_SILENT_S: Final = 0.3
# … counted in steps of the state's own loop, which the leader's heartbeats wake every 50 ms
SIGNER_STEP_S: Final = 0.06
SIGNER_SILENT_MAX_S: Final = 2.4  # each handover for silence doubles the bound up to this …
SIGNER_CALM_S: Final = 600.0  # … for so long: a machine that is too slow changes leaders a few times, not for ever
# without another member to lead it is replaced later, and earlier than HUNG_AFTER_S
SIGNER_REPLACE_S: Final = 1.5
# the supervisor replaces a signer for the state process only if it was silent for so long
SIGNER_BELIEVED_S: Final = 0.2
HAND_OVER_AGAIN_S: Final = 0.5  # a leader that hands over by itself asks again after so long
UNREACHED_S: Final = 3.0  # a leader without a connected validator; three dials of REDIAL_MAX_S
UNREACHED_LOOK_S: Final = 1.0  # as often as a busy signer writes its section of the board
UNREACHED_AGAIN_S: Final = 20.0  # a member that reached no validator is not asked to lead for so long …
# … doubled each time, up to this: a handover costs nothing while nothing is signed, and a validator
# that comes back for another member only is not reached before that one leads
UNREACHED_AGAIN_MAX_S: Final = 240.0
LEADER_PRIORITY_MAX: Final = 100
LEADER_NEAREST: Final = "nearest"  # … or this word: the node whose promises reach a majority soonest
LEADER_PRIORITY_DEFAULT: Final = 50  # alike on every node: the lead stays where it is
FAVOURITE_LOOK_S: Final = 1.0  # how often a leader looks whether another node is preferred
FAVOURITE_CALM_S: Final = 60.0  # the lead returns after so long in which nobody came or went …
FAVOURITE_QUIET_S: Final = 10.0  # … at a moment without a request, which is waited for so long
FAVOURITE_TAKES_S: Final = 5.0  # a preferred node that has not taken the lead by then has failed to
FAVOURITE_KEPT_S: Final = 600.0  # who loses the lead within so long is asked again later, twice as late each time …
FAVOURITE_AGAIN_MAX_S: Final = 3600.0  # … up to this
# after an operator's order the lead stays where it was put; a drill orders more often than that
FAVOURITE_ORDER_S: Final = 600.0
FAVOURITE_NEARER_S: Final = 0.005  # nearer by less than this is not nearer …
FAVOURITE_NEARER_SHARE: Final = 0.8  # … nor with more than this part of the other's round trip
FAVOURITE_TELL_S: Final = 10.0  # how often a node tells its round trip at most
SIGN_STATE_QUIET_S: Final = 0.01  # a signature is replicated when no request came for so long …
SIGN_STATE_LOOK_S: Final = 0.05  # … which is looked for as often as a leader looks anyway …
SIGN_STATE_LATEST_S: Final = 1.0  # … and at the latest after this …
# … or so many heights: members find no more than JUMP_HEIGHTS above it plausible
SIGN_STATE_HEIGHTS: Final = JUMP_HEIGHTS // 4

# --- the agent beside a validator (cometkms/agent) and the nodes' port for it ---
AGENT_ANSWER_S: Final = 4.0  # for one request in all, then the empty answer: below CometBFT's 5 s read timeout
AGENT_PATIENCE_MIN_S: Final = 0.06  # silence of a node before the next one is asked: fifty times a signature …
AGENT_PATIENCE_MAX_S: Final = 0.15  # … and what a lost host may cost, whatever the link's own times say
AGENT_TIMES_KEPT: Final = 128  # answers of a node from which its patience follows
AGENT_AGAIN_MIN_S: Final = 0.01  # when every node was asked in vain: the pause before the next round …
AGENT_AGAIN_MAX_S: Final = 0.2  # … doubled up to this
AGENTS_MAX: Final = 16  # agents of one chain: one beside each of its validators …
AGENT_LINKS_MAX: Final = 64  # … and connections of all of them to one node
AGENT_NAME_MAX_BYTES: Final = 32
# a request with the largest extension, and what stands around it
AGENT_FRAME_MAX_BYTES: Final = MESSAGE_MAX_BYTES + 256
AGENT_ABOUT_MAX: Final = 16  # an agent says that many things of itself …
AGENT_TEXT_MAX_BYTES: Final = 200  # … each with a short text: shown, not parsed
# connections to a node that have not proved who they are; one more ends the oldest
AGENT_HALF_OPEN_MAX: Final = 32
AGENT_HANDSHAKE_TIMEOUT_S: Final = 3.0
AGENT_PING_S: Final = 1.0
AGENT_SILENT_S: Final = 4.0  # three lost pings, and the link is made anew
# of one agent before the signer's loop turns to everybody else; an honest one has one under way a
# chain
AGENT_TURN_MESSAGES: Final = 8
# three requests with the largest extension; who does not read so much is disconnected
AGENT_OUTBOX_MAX_BYTES: Final = 4 << 20

# --- drills (cometkms/operator/drill) ---
# signatures a node remembers having learned of: ten minutes at two blocks a second
SIGNATURE_RING_ENTRIES: Final = 4096
SIGNATURE_PAGE_ENTRIES: Final = 512  # of them in one answer of the control socket
DRILL_ORDER_EVERY_S: Final = 1.0  # a leader obeys one order of a drill in so long
# and restarts for one only when it has run for so long: a restart is never the next one's cause
DRILL_UPTIME_S: Final = 5.0
ASKED_RESTARTS_MAX: Final = 120  # restarts of a node by a member's order: a drill of a hundred rounds, and some …
ASKED_RESTARTS_S: Final = 86400.0  # … within a day: a member in foreign hands does not keep the others restarting
DRILL_ANSWER_S: Final = 2.0  # how long an order waits for the leader's answer
DRILL_WORDS_MAX_BYTES: Final = 1024  # why an order is refused

# --- a CometBFT node's RPC (cmkms doctor, cmkms drill) ---
RPC_ANSWER_MAX_BYTES: Final = 4 << 20  # a commit of ten thousand validators
RPC_TIMEOUT_S: Final = 5.0  # for one whole answer, however slowly it drips
RPC_PAGES_MAX: Final = 100  # of 100 validators each
RPC_BLOCKS_MAX: Final = 500  # commits that one command reads

# --- shared memory ---
QUEUE_SLOT_BYTES: Final = 512
QUEUE_SLOTS: Final = 256  # one request in flight per chain, twice, with room for reports
# 64 chains of 4 validators with refusals: 300 kB; untouched pages are free
BOARD_SECTION_BYTES: Final = 512 << 10
BOARD_DEPTH_MAX: Final = 24  # of a document in a section; the deepest of ours has 7
BOARD_VALUES_MAX: Final = 100_000  # in one document: 64 chains of 4 validators have 20 000
# a nonce; whatever is larger, no reader can make a float of
BOARD_INTEGER_MAX: Final = (1 << 64) - 1

# --- /metrics (docs/METRICS.md) ---
METRIC_LABEL_MAX_CHARS: Final = 128  # a chain id, a node id or a validator's address is shorter
# of one family: 64 chains with 6 validators in 5 states; the rest is counted, not shown
METRIC_SERIES_MAX: Final = 2048

# --- the audit log (docs/AUDIT.md) ---
AUDIT_VALIDATOR_MAX_BYTES: Final = 160  # of a validator's address: what a queue slot has left; a longer one is cut
AUDIT_FILE_MAX_BYTES: Final = 8 << 20  # then the next file begins: about 15 000 lines
# of a file that a writer finds; a longer one is none of its own
AUDIT_READ_MAX_BYTES: Final = 4 * AUDIT_FILE_MAX_BYTES
AUDIT_SEQ_MAX: Final = (1 << 62) - 1  # of a file's name: nobody writes a millionth of so many lines
AUDIT_MIN_MIB: Final = 16  # all files together: two, so that a rotation keeps something
AUDIT_DEFAULT_MIB: Final = 256  # about 500 000 lines: two weeks of one chain with blocks of 5 s
AUDIT_MAX_MIB: Final = 1 << 20
# the longest honest one: a chain id and an address with every byte escaped
AUDIT_LINE_MAX_BYTES: Final = 2048
AUDIT_WAITING_MAX: Final = 16_384  # decisions in memory while the disk does not take them: 8 MiB
AUDIT_BATCH: Final = 32  # lines that are made in one call
AUDIT_BUSY_S: Final = 0.05  # how soon the queue is looked at again when something was in it …
AUDIT_IDLE_S: Final = 1.0  # … and when nothing was, if no heartbeat came before; half full, it wakes its reader
FOLD_FIRST_S: Final = 1.0  # refusals like one that was told are counted for so long, then told as a number …
FOLD_MAX_S: Final = 600.0  # … and the interval doubles up to this; who is silent for so long is told anew
# kinds of refusal that a chain tells apart at once: 64 validators, four reasons each
FOLD_KINDS_MAX: Final = 256
REFUSED_PAUSE_MIN_S: Final = 0.001  # after a refusal a connection is read again so much later, doubled with each …
REFUSED_PAUSE_MAX_S: Final = 0.1  # … up to this: ten a second, and no vote that follows is late by it
AUDIT_SYNC_S: Final = 1.0  # between two fdatasyncs, if something was written
AUDIT_LOOK_S: Final = 2.0  # how soon a file that is gone from its directory is noticed while nothing is written
AUDIT_ANEW_S: Final = 10.0  # between two tries to enter its directory, each by a process of its own
AUDIT_RETRY_S: Final = 1.0  # after a write or sync that failed

# --- the log of a process that writes down what members send it (cometkms/calm_log.py) ---
LOG_BURST: Final = 20  # lines of one kind that stand at once: a bad minute of a network …
LOG_EVERY_S: Final = 10.0  # … and one more in so long, with the number of those that were held back
# kinds that are told apart by whom they are about: 7 members, 64 chains
LOG_KINDS_MAX: Final = 1024

# --- what is told of the situation (docs/STATUS_PAGE.md) ---
SIGNED_LATELY_S: Final = 60.0  # a signature so young, and the chain is being signed: longer than any usual block
FAILING_MIN: Final = 2  # one refusal is an accident: a validator that restarted …
FAILING_S: Final = 3.0  # … and so are several within a block
# what failed is past where who asked has been away for so long: who reconnects for each request is
# dialled within REDIAL_MAX_S
FAILING_GONE_S: Final = 5.0

# --- the status page (docs/STATUS_PAGE.md) ---
EVENTS_KEPT: Final = 64  # of the state process: an hour of a bad day, 10 KiB of its section
REFUSALS_KEPT: Final = 32  # of each chain, in the signer …
REFUSALS_SHOWN: Final = 128  # … and of all chains together on the board: 80 KiB at most
HISTORY_S: Final = 600.0  # what the timeline shows
HISTORY_SAMPLE_S: Final = CALM_BEAT_S  # at most: what nobody wrote is not looked at
HISTORY_EVENTS: Final = 256  # outlives the state process, whose own events end with it
HISTORY_CHAINS: Final = 4  # lanes of the timeline; 1200 samples each
STREAMS_MAX: Final = 16  # browsers that watch; each costs a write of 40 KiB a second
# then the browser connects again: nothing of this process lives for ever
STREAM_MAX_S: Final = 600.0
STREAM_TICK_S: Final = FOUR_BEATS_S
# characters of a refusal's words: a validator's chain id may be in them
REFUSAL_WORDS_MAX: Final = 200

# --- the webhook (docs/NOTIFICATIONS.md) ---
WEBHOOK_URL_MAX_BYTES: Final = 2048  # Slack's have 80, those of workflow services some hundred
WEBHOOK_LOOK_S: Final = 1.0  # how often the alerts are looked at: as often as they are evaluated
WEBHOOK_TIMEOUT_S: Final = 10.0  # a whole delivery: name, connection, TLS, request and answer
WEBHOOK_RETRY_MIN_S: Final = 1.0  # after a delivery that failed, doubled with each …
WEBHOOK_RETRY_MAX_S: Final = 60.0  # … up to this …
WEBHOOK_RETRY_AFTER_MAX_S: Final = 600.0  # … or what the receiver asks for (Retry-After), up to this
WEBHOOK_WAITING_MAX: Final = 256  # notices that wait for delivery; then the oldest is dropped and counted …
WEBHOOK_KEEP_S: Final = 3600.0  # … and so is one that is older: nobody acts on it any more
WEBHOOK_BATCH_MAX: Final = 16  # notices of one request: 16 KiB, Slack takes 40 000 characters
WEBHOOK_TEXT_MAX_CHARS: Final = 500  # of what an alert says, and of its cure
WEBHOOK_ANSWER_MAX_BYTES: Final = 16 << 10  # the head of the receiver's answer
WEBHOOK_WORDS_MAX_BYTES: Final = 200  # … and what is shown of its body
# alerts that the api process hands on, the worst first: 128 kB of its section
ALERTS_TOLD_MAX: Final = 128
ALERTS_SETTLE_S: Final = 15.0  # a new api process has raised again by then whatever still holds
# an api process that is silent for so long, twice HUNG_AFTER_S, says nothing of alerts
ALERTS_UNKNOWN_S: Final = 10.0

# --- hardening ---
# Of systemd's range for users without an account (61184 to 65519): nobody's files are theirs.
SIGNER_UID: Final = 62087
STATE_UID: Final = 62088
API_UID: Final = 62089
AUDIT_UID: Final = 62090
DIALER_UID: Final = 62091
WEBHOOK_UID: Final = 62092
CALLER_UID: Final = 62093
DOOR_UID: Final = 62094
NAMES_WATCH_S: Final = 5.0  # how often who looks hosts up sees whether it still may
ACCOUNT_UIDS: Final = (SIGNER_UID, STATE_UID, API_UID, AUDIT_UID, DIALER_UID, WEBHOOK_UID, CALLER_UID, DOOR_UID)

# of the processes that nobody waits for: a tenth of a busy core, enough for their heartbeats
NICER: Final = 10
# of who signs: the shortest the kernel knows; a signature takes about 60 us of each process
SLICE_NS: Final = 100_000
# a real-time process that runs so long without a pause hangs: killed before HUNG_AFTER_S
REALTIME_MAX_S: Final = 2.0

# --- files ---
CONFIG_MAX_BYTES: Final = 1 << 20
KEY_FILE_MAX_BYTES: Final = 16 << 10
STATE_FILE_MAX_BYTES: Final = 16 << 10

# --- a sealed key file ---
SEAL_PASSES_MAX: Final = 8  # with the most memory below half a minute: the signer must be ready within it
SEAL_MEMORY_MIN_BYTES: Final = 8 << 20  # less makes guessing cheap
SEAL_MEMORY_MAX_BYTES: Final = 1 << 30  # whatever a file asks for
SEAL_PASSES: Final = 3  # libsodium's MODERATE …
SEAL_MEMORY_BYTES: Final = 256 << 20  # … about 0.7 s at a start
PASSPHRASE_MIN_BYTES: Final = 8
PASSPHRASE_MAX_BYTES: Final = 1024

ROUND_MAX: Final = (1 << 31) - 1
HEIGHT_MAX: Final = (1 << 63) - 1

if SIGN_BYTES_MAX_BYTES + SIGNATURE_MAX_BYTES + 36 > QUEUE_SLOT_BYTES - 8:
    raise ValueError(
        f"sign bytes of {SIGN_BYTES_MAX_BYTES} and a signature do not fit a queue slot of {QUEUE_SLOT_BYTES} bytes"
    )
if SIGN_BYTES_MAX_BYTES + 2 * 32 + AUDIT_VALIDATOR_MAX_BYTES + 50 > QUEUE_SLOT_BYTES - 8:
    raise ValueError(f"a decision with an address of {AUDIT_VALIDATOR_MAX_BYTES} bytes does not fit a queue slot")
if RAW_VALUE_MAX_BYTES + RAW_UNIQUE_ID_MAX_BYTES + CHAIN_ID_MAX_BYTES + 64 > EXTENSION_SIGN_BYTES_MAX_BYTES:
    raise ValueError("what is signed of the longest raw bytes does not fit where an extension's is built")
if 32 + 4 + RAW_UNIQUE_ID_MAX_BYTES > SIGN_BYTES_MAX_BYTES:
    raise ValueError("what the audit log is told of bytes that are no vote does not fit in place of a vote's")
if SIGN_BYTES_MAX_BYTES + SIGNATURE_MAX_BYTES + CHAIN_ID_MAX_BYTES + 58 + 18 + 16 > SECTOR_BYTES:
    raise ValueError(
        "a row of the promise store with the longest chain id, sign bytes and signature does not fit a sector"
    )
if 2 * SIGNATURE_MAX_BYTES + SIGN_BYTES_MAX_BYTES + 256 > RESPONSE_MAX_BYTES:
    raise ValueError("an answer with two signatures does not fit what a validator reads")
if VOTE_EXTENSION_MAX_BYTES + 4096 > MESSAGE_MAX_BYTES:
    raise ValueError("a request with the largest extension does not fit MESSAGE_MAX_BYTES")
if (
    CHAINS_MAX * (CHAIN_ID_MAX_BYTES + 40)
    + (MEMBERS_MAX + 2) * (NODE_ID_MAX_BYTES + 8)
    + FACTS_MAX * (FACT_NAME_MAX_BYTES + FACT_TEXT_MAX_BYTES + 8)
    + 256
    > PEER_HELLO_MAX_BYTES
):
    raise ValueError("a hello with every row, member and fact does not fit PEER_HELLO_MAX_BYTES")
if (
    SIGNER_SILENT_S < 2.5 * SIGNER_LEASE_RENEW_S
    or not SIGNER_BELIEVED_S < SIGNER_SILENT_S < SIGNER_REPLACE_S < HUNG_AFTER_S
):
    raise ValueError("a signer answers each renewal of its lease with a beat, and is silent only when it misses some")
if not 1.0 <= REALTIME_MAX_S < HUNG_AFTER_S:
    raise ValueError("a real-time process that hangs is ended before the supervisor would, and a busy one is not")
if not FAVOURITE_QUIET_S < FAVOURITE_CALM_S < FAVOURITE_KEPT_S <= FAVOURITE_AGAIN_MAX_S:
    raise ValueError("a node that lost the lead must wait longer than one that never had it")
if not (STATE_FILES_S < STOP_WRITES_S and STOP_TIMEOUT_S + STOP_WRITES_S < 10.0):
    raise ValueError(
        "the state process says that its disk is slow before it is killed, and is killed before a container"
    )
if FAILING_GONE_S < 3 * REDIAL_MAX_S:
    raise ValueError("a validator that reconnects for each request is not gone")
if UNREACHED_S < 3 * REDIAL_MAX_S:
    raise ValueError("a validator must have been dialled before it is called unreached")
if PERMIT_TIMEOUT_S >= 5.0:
    raise ValueError("an empty answer must leave before CometBFT's 5 s read timeout")
if not CHAINS_MAX < RAFT_UNCOMMITTED_OWN_MAX < RAFT_UNCOMMITTED_MAX - CHAINS_MAX:
    raise ValueError("a leader's log, its barrier and a signature of each chain must be taken by its followers")
if AGENT_ANSWER_S >= 5.0 or AGENT_ANSWER_S < PERMIT_TIMEOUT_S + MEMBERS_MAX * AGENT_PATIENCE_MAX_S:
    raise ValueError(
        "an agent's empty answer must leave before CometBFT's 5 s read timeout, when every node had its turn"
    )
if REDIAL_MAX_S >= 3.0:
    raise ValueError("CometBFT exits at boot if nobody dials within 3 s")
if not TRANSFER_TIMEOUT_S + DRILL_ANSWER_S < CONTROL_TIMEOUT_S:
    raise ValueError("an order to hand over is answered before its connection is closed")
