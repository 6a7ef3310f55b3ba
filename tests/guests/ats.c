/* Address translation services: a device that asks where addresses lead, keeps the answers and is told to forget. */
#include "runtime/probe.h"
#include "runtime/scalable.h"

#define DOMAIN 7
#define OTHER_DOMAIN 8
#define IOVA 0x4000000ul
#define PASID 5

enum { VTD_ICE = 1 << 5, VTD_ITE = 1 << 6 };

static struct probe probe;
static u64 *second, *first;

/* A probe with a second-stage table for requests without PASID and a first-stage table for PASID. */
static void setup(u64 context) {
    probe = probe_find();
    probe_enable_pasids(probe);
    probe_enable_translations(probe);
    scalable_start(probe.bdf, context);
    CHECK(vtd.extended >> 2 & 1);
    second = vtd_table();
    first = vtd_table();
    scalable_second_stage(probe.bdf, 0, DOMAIN, second, 0);
    scalable_first_stage(probe.bdf, PASID, OTHER_DOMAIN, first, 0);
}

static struct probe with_pasid(void) { return probe_as(probe, PROBE_PASID, PASID); }
/* Requests by translations that the device holds. */
static struct probe cached(void) { return probe_as(probe, PROBE_CACHED, 0); }
static struct probe cached_with_pasid(void) { return probe_as(probe, PROBE_CACHED | PROBE_PASID, PASID); }

static u64 *marked(u64 mark) {
    u64 *page = pages(1);
    page[0] = mark;
    return page;
}

static struct probe_answer translate(struct probe who, u64 address, u32 flags) {
    return probe_run(who, (struct probe_command){
                              .operation = PROBE_TRANSLATE, .flags = flags, .address = address});
}

/* Addresses, sizes and permissions of the answers; what is not there is no fault. */
CASE(answers) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    u64 *page = marked(1);
    vtd_map(second, IOVA, (u64)page, 1, VTD_READ);
    vtd_map(second, 0x40000000, 0, 2, VTD_RW);
    first_stage_map(first, IOVA, (u64)page, 1, FS_RW);
    scalable_translate();
    struct probe_answer answer = translate(probe, IOVA + 0x123, 0);
    CHECK_EQUAL(answer.status, PROBE_DONE);
    CHECK_EQUAL(answer.value, (u64)page);
    CHECK_EQUAL(answer.size, 0x1000);
    CHECK_EQUAL(answer.permissions, 1);
    answer = translate(probe, 0x40000000 + 0x5000, 0);
    CHECK_EQUAL(answer.permissions, 3);
    CHECK(answer.size >= 0x1000 && answer.size <= 0x200000);
    answer = translate(with_pasid(), IOVA, 0);
    CHECK_EQUAL(answer.value, (u64)page);
    CHECK_EQUAL(answer.permissions & 3, 3);
    CHECK_EQUAL(translate(probe, IOVA + 0x1000, 0).permissions, 0);
    CHECK_EQUAL(translate(with_pasid(), IOVA + 0x1000, 0).permissions, 0);
    vtd_expect_no_fault();
    CHECK_EQUAL(read32(probe.base + PROBE_TRANSLATIONS), 3);
}

/* A translation for writing marks the page dirty before anything is written. */
CASE(dirty_by_translation) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    first_stage_map(first, IOVA, (u64)marked(1), 1, FS_RW);
    scalable_translate();
    CHECK_EQUAL(translate(with_pasid(), IOVA, 0).permissions & 2, 2);
    CHECK_EQUAL(*first_stage_entry(first, IOVA, 1) & (FS_ACCESSED | FS_DIRTY), FS_ACCESSED | FS_DIRTY);
}

/* Without DTE a device may not ask, and not send translated requests. */
CASE(not_allowed) {
    setup(SCALABLE_PASIDS);
    vtd_map(second, IOVA, (u64)marked(1), 1, VTD_RW);
    scalable_translate();
    CHECK_EQUAL(translate(probe, IOVA, 0).status, PROBE_UNSUPPORTED);
    struct fault fault;
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(fault.reason, TRANSLATION_TYPE_BLOCKED);
    /* AT: a translation request. */
    CHECK_EQUAL(fault.details >> 60 & 3, 1);
    vtd_expect_no_fault();
    CHECK_EQUAL(probe_load(probe, IOVA), 1);
}

/* The device goes by what it holds until it is told to forget. */
CASE(held_until_invalidated) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    u64 *old = marked(1), *new = marked(2);
    vtd_map(second, IOVA, (u64)old, 1, VTD_RW);
    first_stage_map(first, IOVA, (u64)old, 1, FS_RW);
    scalable_translate();
    CHECK_EQUAL(probe_load(cached(), IOVA), 1);
    CHECK_EQUAL(probe_load(cached_with_pasid(), IOVA), 1);
    CHECK_EQUAL(read32(probe.base + PROBE_TRANSLATIONS), 2);
    vtd_map(second, IOVA, (u64)new, 1, VTD_RW);
    first_stage_map(first, IOVA, (u64)new, 1, FS_RW);
    vtd_flush_pages(DOMAIN, IOVA, 0);
    scalable_flush_page(OTHER_DOMAIN, PASID, IOVA);
    CHECK_EQUAL(probe_load(probe, IOVA), 2);
    CHECK_EQUAL(probe_load(cached(), IOVA), 1);
    CHECK_EQUAL(probe_load(cached_with_pasid(), IOVA), 1);

    submit_device_tlb(probe.bdf, IOVA, 0x1000);
    vtd_wait();
    CHECK_EQUAL(probe_load(cached(), IOVA), 2);
    CHECK_EQUAL(probe_load(cached_with_pasid(), IOVA), 1);
    CHECK_EQUAL(read64(probe.base + PROBE_INVALIDATION_IOVA), IOVA);
    CHECK_EQUAL(read64(probe.base + PROBE_INVALIDATION_SIZE), 0x1000);
    submit_pasid_device_tlb(probe.bdf, PASID, IOVA & ~0x3FFFul, 0x4000);
    vtd_wait();
    CHECK_EQUAL(probe_load(cached_with_pasid(), IOVA), 2);
    CHECK_EQUAL(read64(probe.base + PROBE_INVALIDATION_SIZE), 0x4000);
    CHECK_EQUAL(read32(probe.base + PROBE_INVALIDATION_SCOPE), 1u << 31 | PASID);
    CHECK_EQUAL(read32(probe.base + PROBE_INVALIDATIONS), 2);
    vtd_expect_no_fault();
}

/* Everything by one descriptor. */
CASE(everything) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    for (u64 i = 0; i < 8; i++)
        vtd_map(second, i << 30 | IOVA, (u64)marked(i), 1, VTD_RW);
    scalable_translate();
    for (u64 i = 0; i < 8; i++)
        CHECK_EQUAL(probe_load(cached(), i << 30 | IOVA), i);
    CHECK_EQUAL(read32(probe.base + PROBE_TRANSLATIONS), 8);
    vtd_submit(3 | (u64)probe.bdf << 32, 0x7FFFFFFFFFFFF001);
    vtd_wait();
    CHECK_EQUAL(read32(probe.base + PROBE_TRANSLATIONS), 0);
    CHECK_EQUAL(read64(probe.base + PROBE_INVALIDATION_SIZE), 0);
}

/* A device that does not answer: no wait completes until software clears the error. */
CASE(no_answer) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    vtd_map(second, IOVA, (u64)marked(1), 1, VTD_RW);
    scalable_translate();
    CHECK_EQUAL(probe_load(cached(), IOVA), 1);
    write32(probe.base + PROBE_INVALIDATION_ANSWER, 2);
    static volatile u32 status;
    submit_device_tlb(probe.bdf, IOVA, 0x1000);
    vtd_submit(5 | 1 << 5 | 0x1234ul << 32, (u64)&status);
    vtd_kick();
    WAIT_FOR(read32(vtd.base + VTD_FSTS) & VTD_ITE);
    settle();
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(read64(vtd.base + VTD_IQERCD) >> 32 & 0xFFFF, probe.bdf);
    CHECK_EQUAL(read32(probe.base + PROBE_TRANSLATIONS), 1);
    /* Answering again, the same once more. */
    write32(probe.base + PROBE_INVALIDATION_ANSWER, 0);
    write32(vtd.base + VTD_FSTS, VTD_ITE);
    submit_device_tlb(probe.bdf, IOVA, 0x1000);
    vtd_wait();
    CHECK_EQUAL(read32(probe.base + PROBE_TRANSLATIONS), 0);
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, 0);
}

/* One that answers wrongly is told of, and the queue goes on. */
CASE(wrong_answer) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    scalable_translate();
    write32(probe.base + PROBE_INVALIDATION_ANSWER, 1);
    submit_device_tlb(probe.bdf, IOVA, 0x1000);
    vtd_wait();
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, VTD_ICE);
    CHECK_EQUAL(read64(vtd.base + VTD_IQERCD) >> 48, probe.bdf);
    write32(vtd.base + VTD_FSTS, VTD_ICE);
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, 0);
}

/* While a device works by its translations, an invalidation that has completed has taken effect. */
CASE(invalidation_against_a_burst) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    u64 *old = marked(0), *new = marked(0);
    vtd_map(second, IOVA, (u64)old, 1, VTD_RW);
    scalable_translate();
    struct probe_command burst = {.operation = PROBE_FETCH_ADD, .address = IOVA, .length = 8, .operand = 1,
                                  .repetitions = 1 << 20};
    for (unsigned round = 0; round < 20; round++) {
        probe_start(cached(), burst);
        u64 *to = round % 2 ? old : new, *from = round % 2 ? new : old;
        for (unsigned i = 0; i < 200; i++)
            relax();
        vtd_map(second, IOVA, (u64)to, 1, VTD_RW);
        vtd_flush_pages(DOMAIN, IOVA, 0);
        submit_device_tlb(probe.bdf, IOVA, 0x1000);
        vtd_wait();
        u64 then = *(volatile u64 *)from;
        u64 there = *(volatile u64 *)to;
        /* The device is still at work, elsewhere. */
        WAIT_FOR(*(volatile u64 *)to != there || !(read32(probe.base + PROBE_STATUS) & 1));
        CHECK_EQUAL(*(volatile u64 *)from, then);
        write32(probe.base + PROBE_DOORBELL, 4);
    }
    vtd_expect_no_fault();
}

/* Requests with addresses that have been translated go where they say; messages they are not. */
CASE(translated_requests) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    scalable_translate();
    u64 *page = marked(0x33);
    struct probe translated = probe_as(probe, PROBE_TRANSLATED, 0);
    CHECK_EQUAL(probe_load(translated, (u64)page), 0x33);
    probe_store(translated, (u64)page + 8, 0x34);
    CHECK_EQUAL(page[1], 0x34);
    vtd_expect_no_fault();
    probe_blocked(translated, PROBE_READ, 0xFEE00000, SCALABLE_INTERRUPT_RANGE);
    vtd_expect_fault(SCALABLE_INTERRUPT_RANGE, probe.bdf, 0xFEE00000, true);
    /* Beyond all addresses that there are. */
    probe_blocked(translated, PROBE_READ, 1ul << 60, BEYOND_HOST_WIDTH);
    vtd_expect_fault(BEYOND_HOST_WIDTH, probe.bdf, 1ul << 60, true);
}

/* To execute, and with privilege: what the answer permits is what the tables say and the entry lets. */
CASE(execute_and_privilege) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    u64 kernel = IOVA + 0x1000;
    first_stage_map(first, IOVA, (u64)marked(1), 1, FS_RW);
    first_stage_map(first, kernel, (u64)marked(2), 1, FS_PRESENT | FS_WRITE);
    scalable_first_stage(probe.bdf, PASID + 1, OTHER_DOMAIN, first, PASID_SUPERVISOR | PASID_EXECUTE);
    scalable_translate();
    CHECK_EQUAL(translate(with_pasid(), kernel, 0).permissions & 7, 0);
    struct probe other = probe_as(probe, PROBE_PASID, PASID + 1);
    CHECK_EQUAL(translate(other, kernel, 0).permissions & 7, 0);
    CHECK_EQUAL(translate(other, kernel, PROBE_PRIVILEGED).permissions, 1 | 2 | 8);
    CHECK_EQUAL(translate(other, IOVA, PROBE_EXECUTE).permissions & 7, 7);
    CHECK_EQUAL(translate(other, IOVA, 0).permissions & 7, 3);
    vtd_expect_no_fault();
}

/* Both stages together: the first one's tables lie where the second says, and so does the page. */
CASE(nested_answers) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    u64 *stage = vtd_table(), *page = marked(0x77), base = 0x40000000, tables[4], *levels[4];
    for (unsigned i = 0; i < 4; i++) {
        levels[i] = vtd_table();
        tables[i] = base + i * PAGE_SIZE;
        vtd_map(stage, tables[i], (u64)levels[i], 1, VTD_RW);
    }
    vtd_map(stage, base + 0x10000, (u64)page, 1, VTD_READ);
    for (unsigned i = 0; i < 4; i++)
        levels[i][IOVA >> (39 - 9 * i) & 511] = (i == 3 ? base + 0x10000 : tables[i + 1]) | FS_RW;
    scalable_nested(probe.bdf, PASID, OTHER_DOMAIN, tables[0], stage, 0);
    scalable_translate();
    struct probe_answer answer = translate(with_pasid(), IOVA, 0);
    CHECK_EQUAL(answer.value, (u64)page);
    CHECK_EQUAL(answer.permissions & 7, 1);
    CHECK_EQUAL(probe_load(cached_with_pasid(), IOVA), 0x77);
    vtd_expect_no_fault();
}

/* Legacy mode has translation requests, too: of devices whose context entries say so. */
CASE(legacy_mode) {
    probe = probe_find();
    probe_enable_translations(probe);
    vtd_start();
    second = vtd_table();
    u64 *page = marked(9);
    vtd_map(second, IOVA, (u64)page, 1, VTD_RW);
    vtd_attach(probe.bdf, VTD_DEVICE_TLB, second, DOMAIN);
    vtd_translate();
    CHECK_EQUAL(translate(probe, IOVA, 0).value, (u64)page);
    CHECK_EQUAL(probe_load(cached(), IOVA), 9);
    submit_device_tlb(probe.bdf, IOVA, PAGE_SIZE);
    vtd_wait();
    CHECK_EQUAL(read32(probe.base + PROBE_TRANSLATIONS), 0);
    vtd_expect_no_fault();
}
