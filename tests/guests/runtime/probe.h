/* Driving a probe: any request, from a command block (devices/src/probe.rs documents it). */
#ifndef PROBE_H
#define PROBE_H

#include "guest.h"

enum {
    PROBE_ID = 0x00,
    PROBE_STATUS = 0x10,
    PROBE_FINISHED = 0x14,
    PROBE_DOORBELL = 0x18,
    PROBE_INTERRUPT = 0x1C,
    PROBE_SCRIPT = 0x20,
    PROBE_SCRIPT_COUNT = 0x28,
    PROBE_SCRIPT_FLAGS = 0x2C,
    PROBE_SCRIPT_PASID = 0x30,
    PROBE_BLOCK = 0x80,
    PROBE_BUFFER = 0x10000,
};

/* Registers of translation services. */
enum {
    PROBE_INVALIDATION_ANSWER = 0x34,
    PROBE_PATIENCE = 0x38,
    PROBE_TRANSLATIONS = 0x40,
    PROBE_INVALIDATIONS = 0x44,
    PROBE_INVALIDATION_IOVA = 0x48,
    PROBE_INVALIDATION_SIZE = 0x50,
    PROBE_INVALIDATION_SCOPE = 0x58,
    PROBE_HITS = 0x5C,
    PROBE_MISSES = 0x60,
    PROBE_PAGE_REQUESTS = 0x64,
    PROBE_RESPONSES = 0x68,
    PROBE_RESPONSE = 0x6C,
    PROBE_RESPONSE_PASID = 0x70,
    PROBE_POP = 0x74,
};

enum probe_operation {
    PROBE_NOTHING,
    PROBE_READ,
    PROBE_WRITE,
    PROBE_FETCH_ADD,
    PROBE_SWAP,
    PROBE_COMPARE_SWAP,
    PROBE_RAISE,
    PROBE_TRANSLATE,
    PROBE_PAGE_REQUEST,
    PROBE_FORGET,
};

/* Flags of a command. */
enum {
    PROBE_PASID = 1 << 0,
    PROBE_PRIVILEGED = 1 << 1,
    PROBE_EXECUTE = 1 << 2,
    PROBE_TRANSLATED = 1 << 3,
    PROBE_CACHED = 1 << 4,
    PROBE_PAGES = 1 << 5,
    PROBE_IMMEDIATE = 1 << 8,
    PROBE_GO_ON = 1 << 9,
    PROBE_NO_WRITE = 1 << 10,
    PROBE_PAGE_READ = 1 << 12,
    PROBE_PAGE_WRITE = 1 << 13,
    PROBE_PAGE_LAST = 1 << 14,
    PROBE_PAGE_WAIT = 1 << 15,
};

enum probe_status {
    PROBE_DONE = 1,
    PROBE_MALFORMED,
    PROBE_NOT_ENABLED,
    PROBE_BLOCKED,
    PROBE_UNREACHABLE,
    PROBE_NO_INTERRUPT,
    PROBE_STOPPED,
    PROBE_UNSUPPORTED,
    PROBE_ABORTED,
    PROBE_NO_PERMISSION,
    PROBE_PAGE_REFUSED,
    PROBE_PAGE_FAILED,
    PROBE_NO_ANSWER,
    PROBE_TOO_MANY_PAGES,
    PROBE_UNSETTLED,
};

struct probe_command {
    u32 operation, flags, pasid, selector;
    u64 address;
    u32 length, offset;
    u64 operand, compare;
    u32 repetitions, reserved;
    u64 stride;
};

struct probe_answer {
    u32 status, reason;
    u64 value, size, total, shortest, longest;
    u32 repetitions, permissions;
    u64 reserved;
};

/* A block of a script. */
struct probe_block {
    struct probe_command command;
    volatile struct probe_answer answer;
};

/* A probe, and what the requests carry that the functions below have it send. */
struct probe {
    bdf_t bdf;
    u64 base;
    u32 flags, pasid;
};

/* The probe of the machine, its memory and bus mastering on. */
struct probe probe_find(void);
/* Lets the probe use PASIDs, with execute and privilege. */
void probe_enable_pasids(struct probe probe);
/* Lets the probe hold translations. */
void probe_enable_translations(struct probe probe);
/* Lets the probe have this many page requests unanswered. */
void probe_enable_pages(struct probe probe, u32 allocation);
/* The same probe with other attributes. */
static inline struct probe probe_as(struct probe probe, u32 flags, u32 pasid) {
    probe.flags = flags;
    probe.pasid = pasid;
    return probe;
}

/* Carries out one command, with the probe's attributes besides its own. */
struct probe_answer probe_run(struct probe probe, struct probe_command command);
/* The same in two steps. */
void probe_start(struct probe probe, struct probe_command command);
struct probe_answer probe_end(struct probe probe);
/* Starts a script and waits for its end. */
void probe_script(struct probe probe, struct probe_block *blocks, u32 count);
/* One word, read or written; fails the case unless that works. */
u64 probe_load(struct probe probe, u64 address);
void probe_store(struct probe probe, u64 address, u64 value);
/* An AtomicOp on 8 bytes; what it found. */
u64 probe_add(struct probe probe, u64 address, u64 value);
/* Fails the case unless the operation on 8 bytes is blocked for this reason. */
void probe_blocked(struct probe probe, u32 operation, u64 address, u32 reason);

#endif
