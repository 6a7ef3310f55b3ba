/* Scalable mode: PASID tables, first-stage tables, and the invalidations that go with them. */
#ifndef SCALABLE_H
#define SCALABLE_H

#include "vtd.h"

/* Bits of a scalable context entry. */
enum { SCALABLE_DEVICE_TLB = 1 << 2, SCALABLE_PASIDS = 1 << 3, SCALABLE_PAGES = 1 << 4 };

/* Bits of first-stage entries. */
enum {
    FS_PRESENT = 1 << 0,
    FS_WRITE = 1 << 1,
    FS_USER = 1 << 2,
    FS_ACCESSED = 1 << 5,
    FS_DIRTY = 1 << 6,
    FS_RW = FS_PRESENT | FS_WRITE | FS_USER,
};
/* Accessed and dirty in second-stage entries. */
enum { SS_ACCESSED = 1 << 8, SS_DIRTY = 1 << 9 };

/* Bits of the second word of a PASID table entry. */
enum { PASID_WALK_SNOOP = 1 << 23 };
/* Of the third word. */
enum { PASID_SUPERVISOR = 1 << 0, PASID_EXECUTE = 1 << 1, PASID_WRITE_PROTECT = 1 << 4 };
/* Of the first word. */
enum { PASID_SS_DIRTY = 1 << 9 };

/* Reasons of faults. */
enum {
    TRANSLATION_TYPE_BLOCKED = 0x44,
    NO_PASIDS = 0x45,
    PASID_TOO_LARGE = 0x46,
    PAGES_NOT_ALLOWED = 0x47,
    NO_DIRECTORY_ENTRY = 0x51,
    NO_PASID_ENTRY = 0x59,
    NO_EXECUTE_REQUESTS = 0x5C,
    NO_SUPERVISOR_REQUESTS = 0x5D,
    FS_NOT_PRESENT = 0x71,
    FS_RESERVED = 0x72,
    FS_TABLE_UNREADABLE = 0x75,
    FS_ENTRY_UNREADABLE = 0x76,
    FS_NO_A_D = 0x77,
    SS_NOT_PRESENT = 0x79,
    NOT_CANONICAL = 0x80,
    NOT_USER = 0x81,
    BEYOND_HOST_WIDTH = 0x83,
    SCALABLE_NO_WRITE = 0x85,
    SCALABLE_NO_READ = 0x86,
    SCALABLE_INTERRUPT_RANGE = 0x87,
    FS_MARK_NOT_SNOOPED = 0x90,
};

/* Finds the unit, starts its queue, and makes a context entry with these bits and an empty PASID directory, for all
 * PASIDs of 20 bits. */
void scalable_start(bdf_t bdf, u64 bits);
/* Loads the root table in scalable mode, empties all caches and turns translation on. */
void scalable_translate(void);
/* The context entry, four words. */
u64 *scalable_context(bdf_t bdf);
/* The PASID table entry, eight words, with the table made if need be. Nothing is invalidated. */
u64 *scalable_pasid(bdf_t bdf, u32 pasid);

/* Points a PASID to tables. `bits` go into the third word, and for those with a second stage into the first. */
void scalable_first_stage(bdf_t bdf, u32 pasid, u16 domain, u64 *table, u64 bits);
void scalable_second_stage(bdf_t bdf, u32 pasid, u16 domain, u64 *table, u64 bits);
void scalable_nested(bdf_t bdf, u32 pasid, u16 domain, u64 first_stage, u64 *second_stage, u64 bits);
void scalable_pass_through(bdf_t bdf, u32 pasid, u16 domain);

/* The first-stage entry for `iova` at `level` (1: 4 KiB) of four levels, with the tables above it made as needed. */
u64 *first_stage_entry(u64 *table, u64 iova, unsigned level);
/* Maps a page of `level`. Nothing is invalidated. */
void first_stage_map(u64 *table, u64 iova, u64 physical, unsigned level, u64 bits);

/* Invalidations, waited for. */
void scalable_flush_pasid_entry(u16 domain, u32 pasid);
void scalable_flush_pasid(u16 domain, u32 pasid);
void scalable_flush_page(u16 domain, u32 pasid, u64 iova);
void scalable_flush_everything(void);
/* Descriptors of device-TLB invalidations; nothing happens until they are waited for. `size` is a power of two. */
void submit_device_tlb(bdf_t bdf, u64 iova, u64 size);
void submit_pasid_device_tlb(bdf_t bdf, u32 pasid, u64 iova, u64 size);
/* Answers a group of page requests; with a wait. */
void scalable_respond(bdf_t bdf, u32 pasid, u16 group, u8 code);

#endif
