/* Where each field of a record begins, and its size. Made by build_ffi.py, from cometkms/layouts.py. */
#ifndef CK_LAYOUTS_H
#define CK_LAYOUTS_H

#define CK_ROW_MAGIC "CMKMSR02"
#define CK_SECTOR_CHECK 16

#define CK_SECTOR_MAGIC 0, 8
#define CK_SECTOR_SEQUENCE 8, 8
#define CK_SECTOR_BODY 16, 2
#define CK_SECTOR_HEAD 18

#define CK_ROW_KEY 0, 32
#define CK_ROW_HEIGHT 32, 8
#define CK_ROW_ROUND 40, 4
#define CK_ROW_STEP 44, 1
#define CK_ROW_FLAGS 45, 1
#define CK_ROW_BYTES 46, 2
#define CK_ROW_SIGNATURE 48, 1
#define CK_ROW_CHAIN 49, 1
#define CK_ROW_COUNT 50, 8
#define CK_ROW_HEAD 58

#define CK_QUEUE_TAG 0, 1
#define CK_QUEUE_NONCE 1, 8
#define CK_QUEUE_REQUEST_ID 9, 8
#define CK_QUEUE_CHAIN 17, 2
#define CK_QUEUE_HEIGHT 19, 8
#define CK_QUEUE_ROUND 27, 4
#define CK_QUEUE_STEP 31, 1
#define CK_QUEUE_FLAG 32, 1
#define CK_QUEUE_BYTES 33, 2
#define CK_QUEUE_SIGNATURE 35, 1
#define CK_QUEUE_HEAD 36

#define CK_DECISION_LIFE 0, 8
#define CK_DECISION_NUMBER 8, 8
#define CK_DECISION_AT_NS 16, 8
#define CK_DECISION_HEIGHT 24, 8
#define CK_DECISION_ROUND 32, 4
#define CK_DECISION_STEP 36, 1
#define CK_DECISION_OUTCOME 37, 1
#define CK_DECISION_REASON 38, 1
#define CK_DECISION_KIND 39, 1
#define CK_DECISION_CHAIN 40, 2
#define CK_DECISION_BYTES 42, 1
#define CK_DECISION_BLOCK 43, 1
#define CK_DECISION_IDENTITY 44, 1
#define CK_DECISION_VALIDATOR 45, 1
#define CK_DECISION_US 46, 4
#define CK_DECISION_HEAD 50

#endif
