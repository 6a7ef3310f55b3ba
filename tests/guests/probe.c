/* Requests that only a probe sends, in legacy mode. */
#include "runtime/probe.h"
#include "runtime/vtd.h"

#define DOMAIN 9
#define IOVA 0x4000000ul
#define INDEX 3

/* Legacy mode cannot serve requests with PASID. */
#define PASID_IN_LEGACY 0x31

/* Translation on, with the probe in DOMAIN behind an empty table. */
static struct probe setup(u64 **table) {
    struct probe probe = probe_find();
    vtd_start();
    *table = vtd_table();
    vtd_attach(probe.bdf, VTD_TABLES, *table, DOMAIN);
    vtd_translate();
    return probe;
}

CASE(any_address_and_size) {
    u64 *table;
    struct probe probe = setup(&table);
    u8 *pattern = pages(16);
    for (u64 i = 0; i < 16 * PAGE_SIZE; i++)
        pattern[i] = (u8)(i * 7 + (i >> 8));
    u8 *copy = pages(17);
    /* The pages lie in the other order behind the table. */
    for (u64 page = 0; page < 17; page++) {
        if (page < 16)
            vtd_map(table, IOVA + page * PAGE_SIZE, (u64)pattern + (15 - page) * PAGE_SIZE, 1, VTD_READ);
        vtd_map(table, IOVA + (page + 32) * PAGE_SIZE, (u64)copy + page * PAGE_SIZE, 1, VTD_WRITE);
    }
    vtd_flush_domain(DOMAIN);
    struct probe_command read = {.operation = PROBE_READ, .address = IOVA + 0x123, .length = 0xF000, .offset = 5};
    CHECK_EQUAL(probe_run(probe, read).status, PROBE_DONE);
    struct probe_command write = {
        .operation = PROBE_WRITE, .address = IOVA + 32 * PAGE_SIZE + 0x456, .length = 0xF000, .offset = 5};
    CHECK_EQUAL(probe_run(probe, write).status, PROBE_DONE);
    for (u64 i = 0; i < 0xF000; i++) {
        u64 from = 0x123 + i;
        CHECK_EQUAL(copy[0x456 + i], pattern[(15 - from / PAGE_SIZE) * PAGE_SIZE + from % PAGE_SIZE]);
    }
    CHECK_EQUAL(copy[0x455], 0);
    CHECK_EQUAL(copy[0x456 + 0xF000], 0);
    vtd_expect_no_fault();
}

/* An AtomicOp needs both permissions, and is one access: other processors are not there to see it, but the
 * answer shows what was found. */
CASE(atomic_operations) {
    u64 *table;
    struct probe probe = setup(&table);
    u64 *page = pages(1);
    vtd_map(table, IOVA, (u64)page, 1, VTD_RW);
    vtd_map(table, IOVA + 0x1000, (u64)page, 1, VTD_READ);
    vtd_map(table, IOVA + 0x2000, (u64)page, 1, VTD_WRITE);
    vtd_flush_domain(DOMAIN);
    page[2] = 40;
    CHECK_EQUAL(probe_add(probe, IOVA + 16, 2), 40);
    CHECK_EQUAL(page[2], 42);
    struct probe_command swap = {
        .operation = PROBE_COMPARE_SWAP, .address = IOVA + 16, .length = 4, .operand = 1, .compare = 41};
    CHECK_EQUAL(probe_run(probe, swap).value, 42);
    CHECK_EQUAL(page[2], 42);
    swap.compare = 42;
    CHECK_EQUAL(probe_run(probe, swap).value, 42);
    CHECK_EQUAL(page[2], 1);
    vtd_expect_no_fault();
    probe_blocked(probe, PROBE_FETCH_ADD, IOVA + 0x1000, NO_WRITE);
    struct fault fault;
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(fault.reason, NO_WRITE);
    /* T1 and T2: an AtomicOp. */
    CHECK_EQUAL(fault.details >> 62 & 1, 1);
    CHECK_EQUAL(fault.details >> 28 & 1, 1);
    probe_blocked(probe, PROBE_FETCH_ADD, IOVA + 0x2000, NO_READ);
    CHECK_EQUAL(page[2], 1);
}

/* A read of no bytes needs the page, and with ZLR any permission to it will do. */
CASE(zero_length_reads) {
    u64 *table;
    struct probe probe = setup(&table);
    CHECK(vtd.capabilities >> 22 & 1);
    u64 *page = pages(1);
    vtd_map(table, IOVA, (u64)page, 1, VTD_READ);
    vtd_map(table, IOVA + 0x1000, (u64)page, 1, VTD_WRITE);
    vtd_flush_domain(DOMAIN);
    struct probe_command read = {.operation = PROBE_READ, .address = IOVA};
    CHECK_EQUAL(probe_run(probe, read).status, PROBE_DONE);
    read.address = IOVA + 0x1000;
    CHECK_EQUAL(probe_run(probe, read).status, PROBE_DONE);
    vtd_expect_no_fault();
    read.address = IOVA + 0x2000;
    CHECK_EQUAL(probe_run(probe, read).reason, NO_READ);
    vtd_expect_fault(NO_READ, probe.bdf, IOVA + 0x2000, true);
}

/* A message is a write like any other; the index in its address says what becomes of it. */
CASE(interrupts_anywhere) {
    u64 *table;
    struct probe probe = setup(&table);
    apic_start();
    vtd_remap_interrupts(true);
    vtd_interrupt_entry(INDEX, 0x71, probe.bdf);
    vtd_flush_entry(INDEX);
    struct probe_command write = {
        .operation = PROBE_WRITE, .flags = PROBE_IMMEDIATE, .address = vtd_message(INDEX), .length = 4};
    CHECK_EQUAL(probe_run(probe, write).status, PROBE_DONE);
    WAIT_FOR(interrupts[0x71] == 1);
    vtd_expect_no_fault();
    write.address = vtd_message(INDEX + 1);
    CHECK_EQUAL(probe_run(probe, write).reason, ENTRY_NOT_PRESENT);
    vtd_expect_fault(ENTRY_NOT_PRESENT, probe.bdf, (u64)(INDEX + 1) << 48, false);
    CHECK_EQUAL(interrupts[0x71], 1);
}

CASE(pasid_in_legacy_mode) {
    u64 *table;
    struct probe probe = setup(&table);
    u64 *page = pages(1);
    vtd_map(table, IOVA, (u64)page, 1, VTD_RW);
    vtd_flush_domain(DOMAIN);
    /* Not before software lets it. */
    struct probe_command read = {.operation = PROBE_READ, .address = IOVA, .length = 8};
    CHECK_EQUAL(probe_run(probe_as(probe, PROBE_PASID, 0x12345), read).status, PROBE_NOT_ENABLED);
    probe_enable_pasids(probe);
    probe_blocked(probe_as(probe, PROBE_PASID | PROBE_PRIVILEGED, 0x12345), PROBE_READ, IOVA, PASID_IN_LEGACY);
    struct fault fault;
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(fault.reason, PASID_IN_LEGACY);
    CHECK_EQUAL(fault.address, IOVA);
    /* PASID present and its value, privileged, not to execute. */
    CHECK_EQUAL(fault.details >> 31 & 1, 1);
    CHECK_EQUAL(fault.details >> 40 & 0xFFFFF, 0x12345);
    CHECK_EQUAL(fault.details >> 29 & 1, 1);
    CHECK_EQUAL(fault.details >> 30 & 1, 0);
}

/* A burst is judged page by page, and stops at the first that is refused. */
CASE(bursts_stop_at_a_fault) {
    u64 *table;
    struct probe probe = setup(&table);
    u64 *memory = pages(8);
    for (u64 page = 0; page < 5; page++)
        vtd_map(table, IOVA + page * PAGE_SIZE, (u64)memory + page * PAGE_SIZE, 1, VTD_RW);
    vtd_flush_domain(DOMAIN);
    struct probe_command burst = {.operation = PROBE_WRITE, .flags = PROBE_IMMEDIATE, .address = IOVA + 8,
                                  .length = 8, .operand = 0x77, .repetitions = 100, .stride = PAGE_SIZE};
    struct probe_answer answer = probe_run(probe, burst);
    CHECK_EQUAL(answer.status, PROBE_BLOCKED);
    CHECK_EQUAL(answer.repetitions, 5);
    CHECK(answer.shortest <= answer.longest && answer.longest <= answer.total);
    for (u64 page = 0; page < 8; page++)
        CHECK_EQUAL(memory[page * 512 + 1], page < 5 ? 0x77 : 0);
    vtd_expect_fault(NO_WRITE, probe.bdf, IOVA + 5 * PAGE_SIZE, false);
}

/* The device reads its script through the tables, too. */
CASE(scripts) {
    u64 *table;
    struct probe probe = setup(&table);
    struct probe_block *blocks = pages(1);
    u64 *page = pages(1);
    vtd_map(table, (u64)blocks, (u64)blocks, 1, VTD_RW);
    vtd_map(table, IOVA, (u64)page, 1, VTD_RW);
    vtd_flush_domain(DOMAIN);
    for (unsigned i = 0; i < 10; i++)
        blocks[i].command = (struct probe_command){
            .operation = PROBE_FETCH_ADD, .address = IOVA + 8 * (i % 2), .length = 8, .operand = i};
    probe_script(probe, blocks, 10);
    CHECK_EQUAL(read32(probe.base + PROBE_FINISHED), 10);
    CHECK_EQUAL(page[0], 0 + 2 + 4 + 6 + 8);
    CHECK_EQUAL(page[1], 1 + 3 + 5 + 7 + 9);
    CHECK_EQUAL(blocks[9].answer.value, 1 + 3 + 5 + 7);
    vtd_expect_no_fault();
    /* Without permission to write the answer the first command is the last. */
    vtd_map(table, (u64)blocks, (u64)blocks, 1, VTD_READ);
    vtd_flush_domain(DOMAIN);
    probe_script(probe, blocks, 10);
    CHECK_EQUAL(read32(probe.base + PROBE_STATUS), 2);
    CHECK_EQUAL(page[0] + page[1], 45);
    vtd_expect_fault(NO_WRITE, probe.bdf, (u64)blocks, false);
}
