/* Driving the remapping unit: tables, commands, the invalidation queue, faults, interrupt entries. */
#ifndef VTD_H
#define VTD_H

#include "guest.h"

/* Register offsets (VT-d specification, 11.4). */
enum {
    VTD_VER = 0x00,
    VTD_CAP = 0x08,
    VTD_ECAP = 0x10,
    VTD_GCMD = 0x18,
    VTD_GSTS = 0x1C,
    VTD_RTADDR = 0x20,
    VTD_CCMD = 0x28,
    VTD_FSTS = 0x34,
    VTD_FECTL = 0x38,
    VTD_FEDATA = 0x3C,
    VTD_FEADDR = 0x40,
    VTD_FEUADDR = 0x44,
    VTD_IQH = 0x80,
    VTD_IQT = 0x88,
    VTD_IQA = 0x90,
    VTD_ICS = 0x9C,
    VTD_IECTL = 0xA0,
    VTD_IEDATA = 0xA4,
    VTD_IEADDR = 0xA8,
    VTD_IEUADDR = 0xAC,
    VTD_IQERCD = 0xB0,
    VTD_IRTA = 0xB8,
};

/* Bits of the global command and status registers. */
enum {
    VTD_TRANSLATION = 1u << 31,
    VTD_ROOT = 1u << 30,
    VTD_QUEUE = 1u << 26,
    VTD_REMAPPING = 1u << 25,
    VTD_ENTRIES = 1u << 24,
    VTD_COMPATIBILITY = 1u << 23,
};

/* Bits of the fault status register. */
enum { VTD_PFO = 1, VTD_PPF = 2, VTD_IQE = 16 };

/* Permissions of second-stage entries. */
enum { VTD_READ = 1, VTD_WRITE = 2, VTD_RW = 3 };

/* Translation types of context entries; the second with translation requests and translated ones. */
enum { VTD_TABLES = 0, VTD_DEVICE_TLB = 1, VTD_PASS_THROUGH = 2 };

/* Reasons of faults (7.1.3). */
enum {
    NO_ROOT = 0x01,
    NO_CONTEXT = 0x02,
    BAD_CONTEXT = 0x03,
    BEYOND_WIDTH = 0x04,
    NO_WRITE = 0x05,
    NO_READ = 0x06,
    BAD_TABLE = 0x07,
    RESERVED_ROOT = 0x0A,
    RESERVED_CONTEXT = 0x0B,
    RESERVED_ENTRY = 0x0C,
    BAD_REQUEST = 0x20,
    BAD_INDEX = 0x21,
    ENTRY_NOT_PRESENT = 0x22,
    ENTRY_UNREADABLE = 0x23,
    RESERVED_INTERRUPT_ENTRY = 0x24,
    COMPATIBILITY_BLOCKED = 0x25,
    WRONG_SOURCE = 0x26,
};

extern struct vtd {
    u64 base, capabilities, extended;
    /* Levels of the widest tables it walks: 3 or 4. */
    unsigned levels;
    /* The requester ID of the IOAPIC, from the DMAR. */
    bdf_t ioapic;
    u64 (*root)[2];
    /* Interrupt remapping entries, 256 of them. */
    u64 (*entries)[2];
} vtd;

/* Finds the unit in the DMAR and turns its invalidation queue on. */
void vtd_start(void);
/* The same with descriptors of 256 bits, which scalable mode needs. */
void vtd_start_wide(void);
enum { VTD_WIDE = 1 << 11 };
/* The same without the queue, for register-based invalidation. */
void vtd_find(void);

/* Turns one state on or off, or does one one-shot command, and waits for the status. */
void vtd_command(u32 bit, bool on);

/* A top-level table with nothing in it. */
u64 *vtd_table(void);
/* The entry for `iova` at `level` (1: 4 KiB), with the tables above it made as needed. */
u64 *vtd_entry(u64 *table, u64 iova, unsigned level);
/* Maps a page of `level` in the table. Nothing is invalidated. */
void vtd_map(u64 *table, u64 iova, u64 physical, unsigned level, u64 permissions);
/* The context entry of a function, made if need be. */
u64 *vtd_context(bdf_t bdf);
/* Points a function's context entry to a table. Nothing is invalidated. */
void vtd_attach(bdf_t bdf, u64 type, u64 *table, u16 domain);
/* Loads the root table, empties all caches and turns translation on. */
void vtd_translate(void);

/* Appends a descriptor to the queue; nothing happens until the tail is moved. */
void vtd_submit(u64 low, u64 high);
/* Moves the tail behind everything submitted. */
void vtd_kick(void);
/* Submits a wait with a status write, moves the tail and waits for the status. */
void vtd_wait(void);
/* Invalidations, through the queue, waited for. */
void vtd_flush_contexts(void);
void vtd_flush_domain(u16 domain);
void vtd_flush_pages(u16 domain, u64 iova, unsigned order);
void vtd_flush_everything(void);
void vtd_flush_entry(u16 index);

/* A fault as it was recorded. */
struct fault {
    u64 address;
    bdf_t source;
    u8 reason;
    bool read;
    /* Bits 127:64 of the record. */
    u64 details;
};
/* Takes the oldest recorded fault; false if none is pending. */
bool vtd_fault(struct fault *fault);
/* Fails the case unless exactly this was recorded, and nothing else. */
void vtd_expect_fault(u8 reason, bdf_t source, u64 address, bool read);
void vtd_expect_no_fault(void);

/* Sets interrupt entry `index` to a fixed, edge-triggered interrupt of processor 0, from `source` only.
 * Nothing is invalidated. */
void vtd_interrupt_entry(u16 index, u8 vector, bdf_t source);
/* Makes entry tables and turns interrupt remapping on. `extended` selects 32-bit destinations. */
void vtd_remap_interrupts(bool extended);
/* The address of a remappable message for `index`. */
static inline u64 vtd_message(u16 index) {
    return 0xFEE00010ul | (u64)(index & 0x7FFF) << 5 | (u64)(index >> 15) << 2;
}

#endif
