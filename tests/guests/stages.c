/* Scalable mode for a device that knows nothing of PASIDs: either stage by itself, as any unit with one of them has it.
 * What a case begins with says which stage it is about. */
#include "runtime/edu.h"
#include "runtime/scalable.h"

#define DOMAIN 7
#define IOVA 0x4000000ul

/* Reasons of faults that only these cases see. */
enum {
    NO_SCALABLE_ROOT = 0x39,
    RESERVED_SCALABLE_ROOT = 0x3A,
    NO_SCALABLE_CONTEXT = 0x41,
    RESERVED_SCALABLE_CONTEXT = 0x42,
    RESERVED_DIRECTORY_ENTRY = 0x52,
    RESERVED_PASID_ENTRY = 0x5A,
    BAD_PASID_ENTRY = 0x5B,
    SS_RESERVED = 0x7A,
    SCALABLE_BEYOND_WIDTH = 0x84,
};

static struct edu edu;

/* The first edu, whose requests have PASID 0, with an empty PASID directory. */
static void start(void) {
    edu = edu_find(0);
    scalable_start(edu.bdf, 0);
}

static u64 *first(void) {
    start();
    u64 *table = vtd_table();
    scalable_first_stage(edu.bdf, 0, DOMAIN, table, 0);
    return table;
}

static u64 *second(void) {
    start();
    u64 *table = vtd_table();
    scalable_second_stage(edu.bdf, 0, DOMAIN, table, 0);
    return table;
}

/* A page whose words are all `mark`. */
static u64 *marked(u64 mark) {
    u64 *page = pages(1);
    for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
        page[i] = mark;
    return page;
}

/* The word at an address, as the device reads it; what it read goes through memory that pages of either kind map. */
static u64 load(u64 address, volatile u64 *landing, u64 landing_iova) {
    *landing = ~0ul;
    edu_read(edu, address, 0, 8);
    edu_write(edu, landing_iova, 0, 8);
    return *landing;
}

static void expect_blocked(u64 address, u8 reason, bool read) {
    if (read)
        edu_read(edu, address, 0, 4);
    else
        edu_write(edu, address, 0, 4);
    vtd_expect_fault(reason, edu.bdf, address & ~0xFFFul, read);
}

/* --- Either stage --------------------------------------------------------------------------------- */

/* Pages of every size lead where they should; `map` is that of the stage. */
static void pages_of_all_sizes(u64 *table, void (*map)(u64 *, u64, u64, unsigned, u64), u64 rights) {
    u64 *landing = pages(1), *page = marked(5);
    map(table, 0x1000, (u64)landing, 1, rights);
    map(table, IOVA, (u64)page, 1, rights);
    map(table, 0x40000000, (u64)page & ~0x1FFFFFul, 2, rights);
    map(table, 0x80000000, 0, 3, rights);
    scalable_translate();
    CHECK_EQUAL(load(IOVA + 8, landing, 0x1000), 5);
    CHECK_EQUAL(load(0x40000000 + ((u64)page & 0x1FFFFF), landing, 0x1000), 5);
    CHECK_EQUAL(load(0x80000000 + (u64)page, landing, 0x1000), 5);
    vtd_expect_no_fault();
}

CASE(first_sizes) { pages_of_all_sizes(first(), first_stage_map, FS_RW); }

CASE(second_sizes) { pages_of_all_sizes(second(), vtd_map, VTD_RW); }

/* One word of the structures before the paging tables is something else, and requests are blocked for this reason. */
static void changed(u64 *at, u64 value, u8 reason) {
    *at = value;
    scalable_translate();
    expect_blocked(IOVA, reason, true);
}

static u64 *root(void) { return vtd.root[edu.bdf >> 8]; }

static u64 *context(void) { return scalable_context(edu.bdf); }

static u64 *directory(void) { return (u64 *)(context()[0] & ~0xFFFul); }

static u64 *entry(void) { return scalable_pasid(edu.bdf, 0); }

CASE(second_no_root) {
    second();
    changed(root(), 0, NO_SCALABLE_ROOT);
}

CASE(second_root_reserved) {
    second();
    changed(root(), root()[0] | 1 << 5, RESERVED_SCALABLE_ROOT);
}

CASE(second_no_context) {
    second();
    changed(context(), 0, NO_SCALABLE_CONTEXT);
}

CASE(second_context_reserved) {
    second();
    changed(context(), context()[0] | 1 << 7, RESERVED_SCALABLE_CONTEXT);
}

CASE(second_no_directory_entry) {
    second();
    changed(directory(), 0, NO_DIRECTORY_ENTRY);
}

CASE(second_directory_entry_reserved) {
    second();
    changed(directory(), directory()[0] | 1 << 5, RESERVED_DIRECTORY_ENTRY);
}

CASE(second_no_pasid_entry) {
    second();
    changed(entry(), 0, NO_PASID_ENTRY);
}

CASE(second_pasid_entry_reserved) {
    second();
    changed(entry() + 1, entry()[1] | 1ul << 40, RESERVED_PASID_ENTRY);
}

CASE(second_pasid_entry_invalid) {
    second();
    changed(entry(), entry()[0] | 7 << 6, BAD_PASID_ENTRY);
}

/* First-stage tables where the unit has none. */
CASE(second_asked_for_the_first) {
    second();
    changed(entry(), (entry()[0] & ~(7ul << 6)) | 1 << 6, BAD_PASID_ENTRY);
}

/* Addresses as they are. */
static void passed_through(void) {
    u64 *from = marked(6), *to = pages(1);
    scalable_pass_through(edu.bdf, 0, DOMAIN);
    scalable_translate();
    CHECK_EQUAL(load((u64)from, to, (u64)to), 6);
    vtd_expect_no_fault();
}

CASE(first_pass_through) {
    first();
    passed_through();
}

CASE(second_pass_through) {
    second();
    passed_through();
}

/* Wide descriptors have reserved upper halves; narrow ones are not for scalable mode. */
static void wide_queue(void) {
    scalable_translate();
    write64(vtd.base + VTD_RTADDR, (u64)vtd.root | 1 << 10);
    u64 *bad = pages(1);
    bad[0] = 1 | 1 << 4;
    bad[2] = 1;
    vtd_command(VTD_QUEUE, false);
    write32(vtd.base + VTD_IQT, 0);
    write64(vtd.base + VTD_IQA, (u64)bad | VTD_WIDE);
    vtd_command(VTD_QUEUE, true);
    write32(vtd.base + VTD_IQT, 32);
    WAIT_FOR(read32(vtd.base + VTD_FSTS) & VTD_IQE);
    CHECK_EQUAL(read32(vtd.base + VTD_IQH), 0);
}

CASE(first_wide_queue) {
    first();
    wide_queue();
}

CASE(second_narrow_queue) {
    second();
    scalable_translate();
    vtd_command(VTD_QUEUE, false);
    write32(vtd.base + VTD_IQT, 0);
    write64(vtd.base + VTD_IQA, (u64)pages(1));
    vtd_command(VTD_QUEUE, true);
    write32(vtd.base + VTD_IQT, 16);
    WAIT_FOR(read32(vtd.base + VTD_FSTS) & VTD_IQE);
}

/* --- First stages --------------------------------------------------------------------------------- */

CASE(first_permissions) {
    u64 *table = first();
    first_stage_map(table, IOVA, (u64)pages(1), 1, FS_PRESENT | FS_USER);
    first_stage_map(table, IOVA + 0x1000, (u64)pages(1), 1, FS_PRESENT | FS_WRITE);
    scalable_translate();
    edu_read(edu, IOVA, 0, 4);
    vtd_expect_no_fault();
    scalable_flush_everything();
    expect_blocked(IOVA, SCALABLE_NO_WRITE, false);
    expect_blocked(IOVA + 0x1000, NOT_USER, true);
    expect_blocked(IOVA + 0x2000, FS_NOT_PRESENT, true);
}

CASE(first_reserved) {
    u64 *table = first();
    first_stage_map(table, IOVA, (u64)pages(1), 1, FS_RW);
    *first_stage_entry(table, IOVA, 4) |= 1 << 7;
    scalable_translate();
    expect_blocked(IOVA, FS_RESERVED, true);
}

CASE(first_canonical) {
    first();
    scalable_translate();
    expect_blocked(0x0000800000000000, NOT_CANONICAL, true);
}

CASE(first_marks) {
    u64 *table = first();
    first_stage_map(table, IOVA, (u64)pages(1), 1, FS_RW);
    scalable_translate();
    volatile u64 *leaf = first_stage_entry(table, IOVA, 1);
    edu_read(edu, IOVA, 0, 4);
    CHECK_EQUAL(*leaf & (FS_ACCESSED | FS_DIRTY), FS_ACCESSED);
    CHECK_EQUAL(*first_stage_entry(table, IOVA, 4) & FS_ACCESSED, FS_ACCESSED);
    scalable_flush_everything();
    edu_write(edu, IOVA, 0, 4);
    CHECK_EQUAL(*leaf & (FS_ACCESSED | FS_DIRTY), FS_ACCESSED | FS_DIRTY);
    vtd_expect_no_fault();
}

/* The first write after a read, by a translation that is remembered. */
CASE(first_dirty_from_the_cache) {
    u64 *table = first();
    first_stage_map(table, IOVA, (u64)pages(1), 1, FS_RW);
    scalable_translate();
    volatile u64 *leaf = first_stage_entry(table, IOVA, 1);
    edu_read(edu, IOVA, 0, 4);
    edu_write(edu, IOVA, 0, 4);
    CHECK_EQUAL(*leaf & (FS_ACCESSED | FS_DIRTY), FS_ACCESSED | FS_DIRTY);
}

CASE(first_into_interrupts) {
    u64 *table = first();
    first_stage_map(table, IOVA, 0xFEE00000, 1, FS_RW);
    scalable_translate();
    expect_blocked(IOVA, SCALABLE_INTERRUPT_RANGE, false);
}

CASE(first_invalidation) {
    u64 *table = first();
    u64 *landing = pages(1);
    first_stage_map(table, 0x1000, (u64)landing, 1, FS_RW);
    for (unsigned i = 0; i < 3; i++)
        first_stage_map(table, IOVA + i * PAGE_SIZE, (u64)marked(1), 1, FS_RW);
    scalable_translate();
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQUAL(load(IOVA + i * PAGE_SIZE, landing, 0x1000), 1);
    for (unsigned i = 0; i < 3; i++)
        first_stage_map(table, IOVA + i * PAGE_SIZE, (u64)marked(2), 1, FS_RW);
    scalable_flush_page(DOMAIN, 0, IOVA);
    CHECK_EQUAL(load(IOVA, landing, 0x1000), 2);
    scalable_flush_pasid(DOMAIN, 0);
    CHECK_EQUAL(load(IOVA + PAGE_SIZE, landing, 0x1000), 2);
    /* Another table. */
    u64 *other = vtd_table();
    first_stage_map(other, 0x1000, (u64)landing, 1, FS_RW);
    first_stage_map(other, IOVA, (u64)marked(3), 1, FS_RW);
    scalable_first_stage(edu.bdf, 0, DOMAIN, other, 0);
    scalable_flush_pasid_entry(DOMAIN, 0);
    CHECK_EQUAL(load(IOVA, landing, 0x1000), 3);
    vtd_expect_no_fault();
}

/* --- Second stages -------------------------------------------------------------------------------- */

CASE(second_permissions) {
    u64 *table = second();
    vtd_map(table, IOVA, (u64)pages(1), 1, VTD_READ);
    vtd_map(table, IOVA + 0x1000, (u64)pages(1), 1, VTD_WRITE);
    scalable_translate();
    expect_blocked(IOVA, SCALABLE_NO_WRITE, false);
    expect_blocked(IOVA + 0x1000, SCALABLE_NO_READ, true);
}

CASE(second_not_present) {
    second();
    scalable_translate();
    expect_blocked(IOVA, SS_NOT_PRESENT, true);
}

CASE(second_reserved) {
    u64 *table = second();
    vtd_map(table, IOVA, (u64)pages(1), 1, VTD_RW);
    *vtd_entry(table, IOVA, 2) |= 1 << 11;
    scalable_translate();
    expect_blocked(IOVA, SS_RESERVED, true);
}

CASE(second_beyond_width) {
    second();
    scalable_translate();
    expect_blocked(1ul << 48, SCALABLE_BEYOND_WIDTH, true);
}

CASE(second_into_interrupts) {
    u64 *table = second();
    vtd_map(table, IOVA, 0xFEE00000, 1, VTD_RW);
    scalable_translate();
    expect_blocked(IOVA, SCALABLE_INTERRUPT_RANGE, false);
}

CASE(second_invalidation) {
    u64 *table = second();
    u64 *landing = pages(1);
    vtd_map(table, 0x1000, (u64)landing, 1, VTD_RW);
    vtd_map(table, IOVA, (u64)marked(1), 1, VTD_RW);
    scalable_translate();
    CHECK_EQUAL(load(IOVA, landing, 0x1000), 1);
    vtd_map(table, IOVA, (u64)marked(2), 1, VTD_RW);
    vtd_flush_pages(DOMAIN, IOVA, 0);
    CHECK_EQUAL(load(IOVA, landing, 0x1000), 2);
    /* Another table. */
    u64 *other = vtd_table();
    vtd_map(other, 0x1000, (u64)landing, 1, VTD_RW);
    vtd_map(other, IOVA, (u64)marked(3), 1, VTD_RW);
    scalable_second_stage(edu.bdf, 0, DOMAIN, other, 0);
    scalable_flush_pasid_entry(DOMAIN, 0);
    CHECK_EQUAL(load(IOVA, landing, 0x1000), 3);
    vtd_expect_no_fault();
}

/* Requests have the PASID that their context entry says. */
CASE(second_request_pasid) {
    second();
    u64 *table = vtd_table(), *landing = pages(1);
    vtd_map(table, 0x1000, (u64)landing, 1, VTD_RW);
    vtd_map(table, IOVA, (u64)marked(4), 1, VTD_RW);
    scalable_second_stage(edu.bdf, 77, DOMAIN + 1, table, 0);
    scalable_context(edu.bdf)[1] = 77;
    scalable_translate();
    CHECK_EQUAL(load(IOVA, landing, 0x1000), 4);
    vtd_expect_no_fault();
}
