/* What every fallible function returns. Results go through out-pointers, written only on CK_OK. */
#ifndef CK_STATUS_H
#define CK_STATUS_H

#define CK_MUST_CHECK __attribute__((warn_unused_result))

enum ck_status {
    CK_OK = 0,
    CK_MORE = 1,        /* truncated: feed me more */
    CK_MALFORMED = -1,  /* the peer's fault: close the connection */
    CK_TOO_LARGE = -2,  /* an announced length over its bound: close */
    CK_NO_ROOM = -3,    /* the caller's output buffer is too small: our bug */
    CK_BAD_TAG = -4,    /* authentication failed: close */
    CK_EXHAUSTED = -5,  /* a nonce counter would wrap: close */
    CK_LOW_ORDER = -6,  /* X25519 gave the all-zero secret: close */
    CK_REFUSED = -7,    /* the key slot or session refuses: our bug, nothing was signed */
    CK_NO_SODIUM = -8,  /* libsodium's symbols were not resolved */
    CK_CLOSED = -9,     /* the end of the stream */
    CK_SOCKET = -10,    /* the socket failed */
    CK_DISK = -11,      /* a write or sync failed: the store is dead */
    CK_NO_LIBRARY = -12 /* the library of a key's type is not loaded */
};

#endif
