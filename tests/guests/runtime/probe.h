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

enum probe_operation {
    PROBE_NOTHING,
    PROBE_READ,
    PROBE_WRITE,
    PROBE_FETCH_ADD,
    PROBE_SWAP,
    PROBE_COMPARE_SWAP,
    PROBE_RAISE,
};

/* Flags of a command. */
enum {
    PROBE_PASID = 1 << 0,
    PROBE_PRIVILEGED = 1 << 1,
    PROBE_EXECUTE = 1 << 2,
    PROBE_TRANSLATED = 1 << 3,
    PROBE_IMMEDIATE = 1 << 8,
    PROBE_GO_ON = 1 << 9,
};

enum probe_status {
    PROBE_DONE = 1,
    PROBE_MALFORMED,
    PROBE_NOT_ENABLED,
    PROBE_BLOCKED,
    PROBE_UNREACHABLE,
    PROBE_NO_INTERRUPT,
    PROBE_STOPPED,
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
/* The same probe with other attributes. */
static inline struct probe probe_as(struct probe probe, u32 flags, u32 pasid) {
    probe.flags = flags;
    probe.pasid = pasid;
    return probe;
}

/* Carries out one command, with the probe's attributes besides its own. */
struct probe_answer probe_run(struct probe probe, struct probe_command command);
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
