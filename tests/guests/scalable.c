/* Scalable mode: address spaces by PASID, each with tables of its own kind. */
#include "runtime/probe.h"
#include "runtime/scalable.h"

#define DOMAIN 7
#define OTHER_DOMAIN 8
#define NESTED_DOMAIN 9
#define IOVA 0x4000000ul
#define PASID 5
#define FAR_PASID 0xFEDCB

static struct probe probe;

/* A probe that may use PASIDs, whose requests without one find an empty second-stage table. */
static u64 *setup(void) {
    probe = probe_find();
    probe_enable_pasids(probe);
    scalable_start(probe.bdf, SCALABLE_PASIDS);
    u64 *table = vtd_table();
    scalable_second_stage(probe.bdf, 0, DOMAIN, table, 0);
    return table;
}

static struct probe with(u32 pasid) { return probe_as(probe, PROBE_PASID, pasid); }

/* A page whose first word is `mark`. */
static u64 *marked(u64 mark) {
    u64 *page = pages(1);
    page[0] = mark;
    return page;
}

static void expect_fault(u8 reason, u64 address, u32 pasid) {
    struct fault fault;
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(fault.reason, reason);
    CHECK_EQUAL(fault.source, probe.bdf);
    CHECK_EQUAL(fault.address, address);
    CHECK_EQUAL(fault.details >> 31 & 1, 1);
    CHECK_EQUAL(fault.details >> 40 & 0xFFFFF, pasid);
    vtd_expect_no_fault();
}

/* The same address in three address spaces. */
CASE(address_spaces) {
    u64 *second = setup();
    u64 *first = vtd_table(), *far = vtd_table();
    vtd_map(second, IOVA, (u64)marked(1), 1, VTD_RW);
    first_stage_map(first, IOVA, (u64)marked(2), 1, FS_RW);
    first_stage_map(far, IOVA, (u64)marked(3), 1, FS_RW);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, first, 0);
    scalable_first_stage(probe.bdf, FAR_PASID, OTHER_DOMAIN, far, 0);
    scalable_translate();
    CHECK_EQUAL(probe_load(probe, IOVA), 1);
    CHECK_EQUAL(probe_load(with(PASID), IOVA), 2);
    CHECK_EQUAL(probe_load(with(FAR_PASID), IOVA), 3);
    vtd_expect_no_fault();
    probe_blocked(with(PASID + 1), PROBE_READ, IOVA, NO_PASID_ENTRY);
    expect_fault(NO_PASID_ENTRY, IOVA, PASID + 1);
    probe_blocked(with(PASID + 64), PROBE_READ, IOVA, NO_DIRECTORY_ENTRY);
    expect_fault(NO_DIRECTORY_ENTRY, IOVA, PASID + 64);
}

/* Accessed and dirty bits of first-stage entries come with the first read and the first write. */
CASE(accessed_and_dirty) {
    setup();
    u64 *table = vtd_table();
    first_stage_map(table, IOVA, (u64)pages(1), 1, FS_RW);
    first_stage_map(table, IOVA + 0x1000, (u64)pages(1), 1, FS_PRESENT | FS_USER);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, table, 0);
    scalable_translate();
    volatile u64 *leaf = first_stage_entry(table, IOVA, 1);
    CHECK_EQUAL(*leaf & (FS_ACCESSED | FS_DIRTY), 0);
    probe_load(with(PASID), IOVA);
    CHECK_EQUAL(*leaf & (FS_ACCESSED | FS_DIRTY), FS_ACCESSED);
    for (unsigned level = 2; level <= 4; level++)
        CHECK_EQUAL(*first_stage_entry(table, IOVA, level) & (FS_ACCESSED | FS_DIRTY), FS_ACCESSED);
    /* Also where the translation is remembered from the read. */
    probe_store(with(PASID), IOVA, 9);
    CHECK_EQUAL(*leaf & (FS_ACCESSED | FS_DIRTY), FS_ACCESSED | FS_DIRTY);
    /* What is refused marks nothing dirty. */
    probe_blocked(with(PASID), PROBE_WRITE, IOVA + 0x1000, SCALABLE_NO_WRITE);
    CHECK_EQUAL(*first_stage_entry(table, IOVA + 0x1000, 1) & FS_DIRTY, 0);
    expect_fault(SCALABLE_NO_WRITE, IOVA + 0x1000, PASID);
}

/* Nothing is marked by walks that do not snoop; marked already, an entry is as good as any. */
CASE(walks_that_do_not_snoop) {
    setup();
    u64 *table = vtd_table();
    first_stage_map(table, IOVA, (u64)marked(1), 1, FS_RW);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, table, 0);
    scalable_pasid(probe.bdf, PASID)[1] &= ~(u64)PASID_WALK_SNOOP;
    scalable_translate();
    probe_blocked(with(PASID), PROBE_READ, IOVA, FS_MARK_NOT_SNOOPED);
    expect_fault(FS_MARK_NOT_SNOOPED, IOVA, PASID);
    for (unsigned level = 1; level <= 4; level++)
        *first_stage_entry(table, IOVA, level) |= FS_ACCESSED | (level == 1 ? FS_DIRTY : 0);
    scalable_flush_everything();
    probe_store(with(PASID), IOVA, 2);
    vtd_expect_no_fault();
}

/* Those of second-stage entries only if the PASID table entry says so. */
CASE(second_stage_dirty) {
    u64 *table = setup();
    u64 *plain = vtd_table();
    vtd_map(table, IOVA, (u64)pages(1), 1, VTD_RW);
    vtd_map(plain, IOVA, (u64)pages(1), 1, VTD_RW);
    scalable_second_stage(probe.bdf, 0, DOMAIN, table, PASID_SS_DIRTY);
    scalable_second_stage(probe.bdf, PASID, OTHER_DOMAIN, plain, 0);
    scalable_translate();
    probe_load(probe, IOVA);
    CHECK_EQUAL(*vtd_entry(table, IOVA, 1) & (SS_ACCESSED | SS_DIRTY), SS_ACCESSED);
    probe_add(probe, IOVA, 1);
    CHECK_EQUAL(*vtd_entry(table, IOVA, 1) & (SS_ACCESSED | SS_DIRTY), SS_ACCESSED | SS_DIRTY);
    CHECK_EQUAL(*vtd_entry(table, IOVA, 2) & SS_ACCESSED, SS_ACCESSED);
    probe_add(with(PASID), IOVA, 1);
    CHECK_EQUAL(*vtd_entry(plain, IOVA, 1) & (SS_ACCESSED | SS_DIRTY), 0);
    vtd_expect_no_fault();
}

/* First-stage tables whose own addresses the second stage translates. */
CASE(nested) {
    setup();
    u64 *second = vtd_table();
    u64 *page = marked(0x77);
    /* The second stage moves the lowest 2 MiB from 1 GiB on to where these pages are, one by one. */
    u64 base = 0x40000000, tables[4], *levels[4];
    for (unsigned i = 0; i < 4; i++) {
        levels[i] = vtd_table();
        tables[i] = base + i * PAGE_SIZE;
        vtd_map(second, tables[i], (u64)levels[i], 1, VTD_RW);
    }
    vtd_map(second, base + 0x10000, (u64)page, 1, VTD_RW);
    for (unsigned i = 0; i < 4; i++) {
        u64 next = i == 3 ? base + 0x10000 : tables[i + 1];
        levels[i][IOVA >> (39 - 9 * i) & 511] = next | FS_RW;
    }
    scalable_nested(probe.bdf, PASID, NESTED_DOMAIN, tables[0], second, 0);
    scalable_translate();
    CHECK_EQUAL(probe_load(with(PASID), IOVA + 0), 0x77);
    probe_store(with(PASID), IOVA + 8, 0x78);
    CHECK_EQUAL(page[1], 0x78);
    CHECK_EQUAL(levels[3][IOVA >> 12 & 511] & FS_DIRTY, FS_DIRTY);
    vtd_expect_no_fault();

    /* The second stage takes the page, then a table, away. */
    *vtd_entry(second, base + 0x10000, 1) = 0;
    vtd_flush_domain(NESTED_DOMAIN);
    probe_blocked(with(PASID), PROBE_READ, IOVA, SS_NOT_PRESENT);
    expect_fault(SS_NOT_PRESENT, IOVA, PASID);
    vtd_map(second, base + 0x10000, (u64)page, 1, VTD_READ);
    vtd_flush_domain(NESTED_DOMAIN);
    probe_blocked(with(PASID), PROBE_WRITE, IOVA, SCALABLE_NO_WRITE);
    expect_fault(SCALABLE_NO_WRITE, IOVA, PASID);
    CHECK_EQUAL(probe_load(with(PASID), IOVA + 8), 0x78);
}

/* Who may do what: privilege, execution, user pages. */
CASE(privileges) {
    setup();
    u64 *table = vtd_table();
    u64 kernel = IOVA + 0x1000, read_only = IOVA + 0x2000;
    first_stage_map(table, IOVA, (u64)marked(1), 1, FS_RW);
    first_stage_map(table, kernel, (u64)marked(2), 1, FS_PRESENT | FS_WRITE);
    first_stage_map(table, read_only, (u64)marked(3), 1, FS_PRESENT);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, table, 0);
    scalable_first_stage(probe.bdf, PASID + 1, OTHER_DOMAIN, table, PASID_SUPERVISOR | PASID_EXECUTE);
    scalable_first_stage(probe.bdf, PASID + 2, OTHER_DOMAIN, table, PASID_SUPERVISOR | PASID_WRITE_PROTECT);
    scalable_translate();
    probe_blocked(with(PASID), PROBE_READ, kernel, NOT_USER);
    expect_fault(NOT_USER, kernel, PASID);
    struct probe privileged = probe_as(probe, PROBE_PASID | PROBE_PRIVILEGED, PASID);
    struct probe executing = probe_as(probe, PROBE_PASID | PROBE_EXECUTE, PASID);
    probe_blocked(privileged, PROBE_READ, IOVA, NO_SUPERVISOR_REQUESTS);
    expect_fault(NO_SUPERVISOR_REQUESTS, IOVA, PASID);
    probe_blocked(executing, PROBE_READ, IOVA, NO_EXECUTE_REQUESTS);
    expect_fault(NO_EXECUTE_REQUESTS, IOVA, PASID);
    privileged.pasid = executing.pasid = PASID + 1;
    CHECK_EQUAL(probe_load(privileged, kernel), 2);
    CHECK_EQUAL(probe_load(executing, IOVA), 1);
    /* Without WPE a supervisor writes where nobody may. */
    probe_store(privileged, read_only, 33);
    privileged.pasid = PASID + 2;
    probe_blocked(privileged, PROBE_WRITE, read_only, SCALABLE_NO_WRITE);
    expect_fault(SCALABLE_NO_WRITE, read_only, PASID + 2);
    CHECK_EQUAL(probe_load(privileged, read_only), 33);
    vtd_expect_no_fault();
}

/* What the context entry does not allow. */
CASE(context_limits) {
    setup();
    u64 *table = vtd_table();
    first_stage_map(table, IOVA, (u64)marked(1), 1, FS_RW);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, table, 0);
    u64 *context = scalable_context(probe.bdf);
    u64 before = context[0];
    context[0] &= ~(u64)SCALABLE_PASIDS;
    scalable_translate();
    probe_blocked(with(PASID), PROBE_READ, IOVA, NO_PASIDS);
    expect_fault(NO_PASIDS, IOVA, PASID);
    context[0] = before & ~(7ul << 9);
    scalable_flush_everything();
    CHECK_EQUAL(probe_load(with(PASID), IOVA), 1);
    probe_blocked(with(1 << 13), PROBE_READ, IOVA, PASID_TOO_LARGE);
    expect_fault(PASID_TOO_LARGE, IOVA, 1 << 13);
    /* Translated requests are for devices that may hold translations. */
    probe_enable_translations(probe);
    probe_blocked(probe_as(probe, PROBE_TRANSLATED, 0), PROBE_READ, IOVA, TRANSLATION_TYPE_BLOCKED);
    vtd_expect_fault(TRANSLATION_TYPE_BLOCKED, probe.bdf, IOVA, true);
}

CASE(pass_through) {
    setup();
    u64 *page = marked(4);
    scalable_pass_through(probe.bdf, PASID, OTHER_DOMAIN);
    scalable_translate();
    CHECK_EQUAL(probe_load(with(PASID), (u64)page), 4);
    vtd_expect_no_fault();
}

/* A changed first-stage entry counts once it has been invalidated, page by page or by PASID. */
CASE(invalidation_by_pasid) {
    setup();
    u64 *table = vtd_table();
    u64 *old = marked(1), *new = marked(2);
    first_stage_map(table, IOVA, (u64)old, 1, FS_RW);
    first_stage_map(table, IOVA + 0x1000, (u64)old, 1, FS_RW);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, table, 0);
    scalable_translate();
    CHECK_EQUAL(probe_load(with(PASID), IOVA), 1);
    CHECK_EQUAL(probe_load(with(PASID), IOVA + 0x1000), 1);
    first_stage_map(table, IOVA, (u64)new, 1, FS_RW);
    first_stage_map(table, IOVA + 0x1000, (u64)new, 1, FS_RW);
    scalable_flush_page(OTHER_DOMAIN, PASID, IOVA);
    CHECK_EQUAL(probe_load(with(PASID), IOVA), 2);
    scalable_flush_pasid(OTHER_DOMAIN, PASID);
    CHECK_EQUAL(probe_load(with(PASID), IOVA + 0x1000), 2);
    *first_stage_entry(table, IOVA, 1) = 0;
    scalable_flush_page(OTHER_DOMAIN, PASID, IOVA);
    probe_blocked(with(PASID), PROBE_READ, IOVA, FS_NOT_PRESENT);
    expect_fault(FS_NOT_PRESENT, IOVA, PASID);
    /* Another table for the PASID. */
    u64 *other = vtd_table();
    first_stage_map(other, IOVA, (u64)marked(3), 1, FS_RW);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, other, 0);
    scalable_flush_pasid_entry(OTHER_DOMAIN, PASID);
    CHECK_EQUAL(probe_load(with(PASID), IOVA), 3);
}

/* Large pages, and addresses that are not canonical. */
CASE(first_stage_shapes) {
    setup();
    u64 *table = vtd_table();
    u64 ram = (u64)marked(5);
    first_stage_map(table, 0x40000000, ram & ~0x1FFFFFul, 2, FS_RW);
    first_stage_map(table, 0x80000000, ram & ~0x3FFFFFFFul, 3, FS_RW);
    first_stage_map(table, 0xFFFF800000000000, ram, 1, FS_RW);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, table, 0);
    scalable_translate();
    CHECK_EQUAL(probe_load(with(PASID), 0x40000000 + (ram & 0x1FFFFF)), 5);
    CHECK_EQUAL(probe_load(with(PASID), 0x80000000 + (ram & 0x3FFFFFFF)), 5);
    probe_blocked(with(PASID), PROBE_READ, 0x0000800000000000, NOT_CANONICAL);
    expect_fault(NOT_CANONICAL, 0x0000800000000000, PASID);
}

/* From scalable mode to legacy mode and back, by the root table pointer. */
CASE(modes) {
    u64 *second = setup();
    vtd_map(second, IOVA, (u64)marked(1), 1, VTD_RW);
    scalable_translate();
    CHECK_EQUAL(probe_load(probe, IOVA), 1);
    u64 (*scalable_root)[2] = vtd.root;
    vtd.root = pages(1);
    u64 *table = vtd_table();
    vtd_map(table, IOVA, (u64)marked(2), 1, VTD_RW);
    vtd_attach(probe.bdf, VTD_TABLES, table, DOMAIN);
    vtd_translate();
    CHECK_EQUAL(probe_load(probe, IOVA), 2);
    vtd.root = scalable_root;
    scalable_translate();
    CHECK_EQUAL(probe_load(probe, IOVA), 1);
    vtd_expect_no_fault();
}
