/* What invalidations do to DMA, and how their completion is told. */
#include "runtime/edu.h"
#include "runtime/vtd.h"

#define DOMAIN 7
#define IOVA 0x4000000ul
#define VECTOR 0x51

static struct edu edu;
static u64 *table;

static void setup(void) {
    edu = edu_find(0);
    vtd_start();
    table = vtd_table();
    vtd_attach(edu.bdf, VTD_TABLES, table, DOMAIN);
    vtd_translate();
}

/* A page whose words are all `value`. */
static u64 page_of(u32 value) {
    u32 *page = pages(1);
    for (unsigned i = 0; i < PAGE_SIZE / 4; i++)
        page[i] = value;
    return (u64)page;
}

/* The word the device reads at `iova`; 0 if that is blocked. */
static u32 word_at(u64 iova) {
    static u32 *to;
    static const u64 window = 0x9000000;
    if (!to) {
        to = pages(1);
        vtd_map(table, window, (u64)to, 1, VTD_WRITE);
        vtd_map(table, window + 0x1000, page_of(0), 1, VTD_READ);
        vtd_flush_pages(DOMAIN, window, 1);
    }
    struct fault fault;
    edu_read(edu, window + 0x1000, 0, 4);
    edu_read(edu, iova, 0, 4);
    edu_write(edu, window, 0, 4);
    if (vtd_fault(&fault)) {
        CHECK_EQUAL(fault.address, iova & ~0xFFFul);
        CHECK_EQUAL(*to, 0);
        vtd_expect_no_fault();
    }
    return *to;
}

CASE(page_selective) {
    setup();
    vtd_map(table, IOVA, page_of(1), 1, VTD_RW);
    vtd_map(table, IOVA + 0x1000, page_of(2), 1, VTD_RW);
    vtd_flush_pages(DOMAIN, IOVA, 1);
    CHECK_EQUAL(word_at(IOVA), 1);
    CHECK_EQUAL(word_at(IOVA + 0x1000), 2);
    vtd_map(table, IOVA, page_of(3), 1, VTD_RW);
    vtd_map(table, IOVA + 0x1000, page_of(4), 1, VTD_RW);
    vtd_flush_pages(DOMAIN, IOVA, 0);
    CHECK_EQUAL(word_at(IOVA), 3);
    /* The other page may be the old one as long as nobody has named it. */
    u32 other = word_at(IOVA + 0x1000);
    CHECK(other == 2 || other == 4);
    vtd_flush_pages(DOMAIN, IOVA + 0x1000, 0);
    CHECK_EQUAL(word_at(IOVA + 0x1000), 4);
}

/* Without an invalidation a device sees the old page or none: never another one. */
CASE(stale_until_invalidated) {
    setup();
    vtd_map(table, IOVA, page_of(1), 1, VTD_RW);
    vtd_flush_pages(DOMAIN, IOVA, 0);
    CHECK_EQUAL(word_at(IOVA), 1);
    *vtd_entry(table, IOVA, 1) = 0;
    u32 stale = word_at(IOVA);
    CHECK(stale == 1 || stale == 0);
    vtd_flush_pages(DOMAIN, IOVA, 0);
    CHECK_EQUAL(word_at(IOVA), 0);
}

CASE(by_domain) {
    setup();
    vtd_map(table, IOVA, page_of(1), 1, VTD_RW);
    vtd_map(table, IOVA + 0x200000, page_of(2), 1, VTD_RW);
    vtd_flush_domain(DOMAIN);
    CHECK_EQUAL(word_at(IOVA), 1);
    CHECK_EQUAL(word_at(IOVA + 0x200000), 2);
    *vtd_entry(table, IOVA, 1) = 0;
    *vtd_entry(table, IOVA + 0x200000, 1) = 0;
    vtd_flush_domain(DOMAIN);
    CHECK_EQUAL(word_at(IOVA), 0);
    CHECK_EQUAL(word_at(IOVA + 0x200000), 0);
}

/* The low bits of the address are those that the mask leaves open. */
CASE(by_address_mask) {
    setup();
    for (unsigned i = 0; i < 8; i++)
        vtd_map(table, IOVA + i * PAGE_SIZE, page_of(1 + i), 1, VTD_RW);
    vtd_flush_pages(DOMAIN, IOVA, 3);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQUAL(word_at(IOVA + i * PAGE_SIZE), 1 + i);
    for (unsigned i = 0; i < 8; i++)
        *vtd_entry(table, IOVA + i * PAGE_SIZE, 1) = 0;
    vtd_flush_pages(DOMAIN, IOVA + 5 * PAGE_SIZE, 3);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQUAL(word_at(IOVA + i * PAGE_SIZE), 0);
}

/* A table of small pages makes way for a large one, and comes back. */
CASE(large_for_small) {
    setup();
    u64 large = 0x2000000; /* of memory that nothing else uses */
    write32(large + 0x1000, 77);
    vtd_map(table, IOVA, page_of(1), 1, VTD_RW);
    vtd_map(table, IOVA + 0x1000, page_of(2), 1, VTD_RW);
    vtd_flush_pages(DOMAIN, IOVA, 9);
    CHECK_EQUAL(word_at(IOVA + 0x1000), 2);
    u64 small = *vtd_entry(table, IOVA, 2);
    vtd_map(table, IOVA, large, 2, VTD_RW);
    vtd_flush_pages(DOMAIN, IOVA, 9);
    CHECK_EQUAL(word_at(IOVA + 0x1000), 77);
    *vtd_entry(table, IOVA, 2) = small;
    vtd_flush_pages(DOMAIN, IOVA, 9);
    CHECK_EQUAL(word_at(IOVA + 0x1000), 2);
    CHECK_EQUAL(word_at(IOVA), 1);
}

/* A function moves to another table. */
CASE(another_table) {
    setup();
    vtd_map(table, IOVA, page_of(1), 1, VTD_RW);
    vtd_flush_domain(DOMAIN);
    CHECK_EQUAL(word_at(IOVA), 1);
    u64 *first = table;
    table = vtd_table();
    memcpy(table, first, PAGE_SIZE);
    /* Its own entries below, on the path to IOVA. */
    table[0] = 0;
    vtd_map(table, IOVA, page_of(2), 1, VTD_RW);
    vtd_map(table, 0x9000000, *vtd_entry(first, 0x9000000, 1) & ~0xFFFul, 1, VTD_WRITE);
    vtd_map(table, 0x9001000, *vtd_entry(first, 0x9001000, 1) & ~0xFFFul, 1, VTD_READ);
    vtd_attach(edu.bdf, VTD_TABLES, table, DOMAIN + 1);
    vtd_submit(1 | 3 << 4 | DOMAIN << 16 | (u64)edu.bdf << 32, 0);
    vtd_submit(2 | 2 << 4 | 3 << 6 | DOMAIN << 16, 0);
    vtd_wait();
    CHECK_EQUAL(word_at(IOVA), 2);
}

CASE(not_present_to_present) {
    setup();
    CHECK(vtd.capabilities >> 7 & 1);
    CHECK_EQUAL(word_at(IOVA), 0);
    vtd_map(table, IOVA, page_of(1), 1, VTD_RW);
    vtd_flush_pages(DOMAIN, IOVA, 0);
    CHECK_EQUAL(word_at(IOVA), 1);
}

/* --- Completion ----------------------------------------------------------------------------------- */

static volatile u32 status;
static volatile u32 status_at_interrupt;
static void note_status(u8 vector) {
    if (vector == VECTOR)
        status_at_interrupt = status;
}

CASE(completion_interrupt) {
    vtd_start();
    apic_start();
    write32(vtd.base + VTD_IEDATA, VECTOR);
    write32(vtd.base + VTD_IEADDR, MSI_ADDRESS);
    write32(vtd.base + VTD_IEUADDR, 0);
    write32(vtd.base + VTD_IECTL, 0);
    /* Status and interrupt from one descriptor: the status is there when the interrupt is. */
    on_interrupt = note_status;
    vtd_submit(5 | 1 << 4 | 1 << 5 | 0x1234ul << 32, (u64)&status);
    vtd_kick();
    WAIT_FOR(interrupts[VECTOR] == 1);
    CHECK_EQUAL(status_at_interrupt, 0x1234);
    CHECK_EQUAL(read32(vtd.base + VTD_ICS), 1);
    /* As long as nobody has cleared the status there is no second one. */
    vtd_submit(5 | 1 << 4, 0);
    vtd_wait();
    settle();
    CHECK_EQUAL(interrupts[VECTOR], 1);
    write32(vtd.base + VTD_ICS, 1);
    CHECK_EQUAL(read32(vtd.base + VTD_ICS), 0);
    /* A masked one comes out with the mask. */
    write32(vtd.base + VTD_IECTL, 1u << 31);
    vtd_submit(5 | 1 << 4, 0);
    vtd_wait();
    settle();
    CHECK_EQUAL(interrupts[VECTOR], 1);
    CHECK_EQUAL(read32(vtd.base + VTD_IECTL), 3u << 30);
    write32(vtd.base + VTD_IECTL, 0);
    WAIT_FOR(interrupts[VECTOR] == 2);
}

/* The ring goes round a few times, with as much in it as it holds. */
CASE(queue_goes_round) {
    vtd_start();
    for (unsigned round = 0; round < 9; round++) {
        for (unsigned i = 0; i < 254; i++)
            vtd_submit(2 | 1 << 4, 0);
        vtd_wait();
        CHECK_EQUAL(read64(vtd.base + VTD_IQH), read64(vtd.base + VTD_IQT));
    }
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS), 0);
}

/* --- The queue's errors --------------------------------------------------------------------------- */

/* Submits a bad descriptor and a wait; checks that the queue stops at it, and goes on once it is replaced. */
static void expect_queue_error(u64 low, u64 high, u32 information) {
    u64 (*queue)[2] = (void *)(read64(vtd.base + VTD_IQA) & ~0xFFFul);
    u64 at = read64(vtd.base + VTD_IQT);
    volatile u32 *word = (volatile u32 *)pages(1);
    vtd_submit(low, high);
    vtd_submit(5 | 1 << 5 | 1ul << 32, (u64)word);
    vtd_kick();
    settle();
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & VTD_IQE, VTD_IQE);
    CHECK_EQUAL(read64(vtd.base + VTD_IQH), at);
    CHECK_EQUAL(read64(vtd.base + VTD_IQERCD) & 0xF, information);
    CHECK_EQUAL(*word, 0);
    /* As Linux does it: a wait in its place. */
    queue[at >> 4][0] = 5 | 1 << 5 | 1ul << 32;
    queue[at >> 4][1] = (u64)word + 4;
    write32(vtd.base + VTD_FSTS, VTD_IQE);
    WAIT_FOR(*word == 1);
    CHECK_EQUAL(word[1], 1);
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS), 0);
}

CASE(bad_descriptors) {
    vtd_start();
    expect_queue_error(0, 0, 3);                        /* no type */
    expect_queue_error(0xF, 0, 3);                      /* no such type */
    expect_queue_error(1ul << 9 | 2, 0, 3);             /* a type beyond 15 */
    expect_queue_error(6 | 3 << 4, 0, 3);               /* one of scalable mode */
    expect_queue_error(1 | 1 << 4 | 1ul << 63, 0, 4);   /* reserved bits */
    expect_queue_error(1 | 1 << 4, 1, 4);
    expect_queue_error(2, 0, 4);                        /* reserved granularity */
    expect_queue_error(2 | 3 << 4, 0x3F, 4);            /* a mask that is too wide */
    expect_queue_error(5 | 1 << 5, 0xFFFFFFFF0000ul, 0); /* a status that cannot be written */
}

/* A tail outside of the ring is an error at once, not a walk through all memory. */
CASE(tail_outside) {
    vtd_start();
    vtd_wait();
    for (unsigned round = 0; round < 2; round++) {
        u64 tail = read64(vtd.base + VTD_IQT);
        write32(vtd.base + VTD_IQT, round ? 0x7FFF0 : 0x1000);
        CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & VTD_IQE, VTD_IQE);
        CHECK_EQUAL(read64(vtd.base + VTD_IQERCD) & 0xF, 1);
        write32(vtd.base + VTD_IQT, (u32)tail);
        write32(vtd.base + VTD_FSTS, VTD_IQE);
        vtd_wait();
    }
}

/* --- By registers --------------------------------------------------------------------------------- */

static u64 iotlb(void) { return vtd.base + (vtd.extended >> 8 & 0x3FF) * 16 + 8; }

/* Invalidates contexts with CCMD; gives the granularity that was done. */
static u64 by_ccmd(u64 command) {
    write64(vtd.base + VTD_CCMD, command | 1ul << 63);
    WAIT_FOR(!(read64(vtd.base + VTD_CCMD) >> 63));
    return read64(vtd.base + VTD_CCMD) >> 59 & 3;
}

/* Invalidates translations; gives the granularity that was done. */
static u64 by_iotlb(u64 address, u64 command) {
    write64(iotlb() - 8, address);
    write64(iotlb(), command | 1ul << 63);
    WAIT_FOR(!(read64(iotlb()) >> 63));
    return read64(iotlb()) >> 57 & 3;
}

CASE(by_registers) {
    edu = edu_find(0);
    vtd_find();
    table = vtd_table();
    u64 window = 0x9000000;
    u32 *to = pages(1);
    vtd_map(table, IOVA, page_of(1), 1, VTD_READ);
    vtd_map(table, window, (u64)to, 1, VTD_WRITE);
    vtd_attach(edu.bdf, VTD_TABLES, table, DOMAIN);
    write64(vtd.base + VTD_RTADDR, (u64)vtd.root);
    vtd_command(VTD_ROOT, true);
    CHECK_EQUAL(by_ccmd(1ul << 61), 1);
    CHECK_EQUAL(by_iotlb(0, 1ul << 60), 1);
    vtd_command(VTD_TRANSLATION, true);
    edu_copy_word(edu, IOVA, window);
    CHECK_EQUAL(*to, 1);

    vtd_map(table, IOVA, page_of(2), 1, VTD_READ);
    CHECK(by_iotlb(IOVA, 3ul << 60 | (u64)DOMAIN << 32) != 0);
    edu_copy_word(edu, IOVA, window);
    CHECK_EQUAL(*to, 2);

    vtd_map(table, IOVA, page_of(3), 1, VTD_READ);
    CHECK(by_iotlb(0, 2ul << 60 | (u64)DOMAIN << 32) != 0);
    edu_copy_word(edu, IOVA, window);
    CHECK_EQUAL(*to, 3);

    vtd_context(edu.bdf)[0] = 0;
    CHECK(by_ccmd(3ul << 61 | (u64)edu.bdf << 16 | DOMAIN) != 0);
    CHECK(by_iotlb(0, 2ul << 60 | (u64)DOMAIN << 32) != 0);
    edu_copy_word(edu, IOVA, window);
    struct fault fault;
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(fault.reason, NO_CONTEXT);
    /* What is not offered is not done, and ends. */
    CHECK_EQUAL(by_ccmd(0), 0);
    CHECK_EQUAL(by_iotlb(0, 0), 0);
    CHECK_EQUAL(by_iotlb(0x3F, 3ul << 60 | (u64)DOMAIN << 32), 0);
}

/* With the queue on, the registers do nothing; but a guest that polls them gets its answer. */
CASE(registers_yield_to_the_queue) {
    vtd_start();
    CHECK_EQUAL(by_ccmd(1ul << 61), 0);
    CHECK_EQUAL(by_iotlb(0, 1ul << 60), 0);
}
