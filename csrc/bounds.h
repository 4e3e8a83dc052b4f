/* The bounds of cometkms/limits.py that the C core shares; a test compares the two files. */
#ifndef CK_BOUNDS_H
#define CK_BOUNDS_H

#define CK_CHAIN_ID_MAX 64
#define CK_HASH_BYTES 32
#define CK_ADDRESS_BYTES 20
#define CK_VOTE_EXTENSION_MAX 1048576
#define CK_MESSAGE_MAX (1048576 + 65536)
#define CK_RESPONSE_MAX 10240
#define CK_SIGN_BYTES_MAX 224
#define CK_EXTENSION_SIGN_BYTES_MAX (1048576 + 128)
#define CK_ERROR_TEXT_MAX 1024
#define CK_FRAME_DATA 1024
#define CK_FRAME_PLAIN (4 + CK_FRAME_DATA)
#define CK_FRAME_SEALED (CK_FRAME_PLAIN + 16)
#define CK_INBOX (64 * CK_FRAME_SEALED)
#define CK_QUEUE_SLOT 512
#define CK_ROWS_MAX 64
#define CK_MEMBERS_MAX 7
#define CK_SECTOR 512
#define CK_BLOCK 4096
#define CK_HEIGHT_JUMP_MAX 1000000

#endif
