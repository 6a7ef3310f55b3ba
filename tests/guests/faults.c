/* How faults are recorded and told. */
#include "runtime/edu.h"
#include "runtime/vtd.h"

#define IOVA 0x4000000ul
#define VECTOR 0x52

static struct edu edu;

/* Translation on, with nothing mapped. */
static void setup(void) {
    edu = edu_find(0);
    vtd_start();
    vtd_attach(edu.bdf, VTD_TABLES, vtd_table(), 7);
    vtd_translate();
}

static void cause_fault(unsigned number) { edu_read(edu, IOVA + number * PAGE_SIZE, 0, 4); }

static unsigned records(void) { return (unsigned)(vtd.capabilities >> 40 & 0xFF) + 1; }

/* Records fill up in order; what does not fit is lost, and that is told. */
CASE(overflow) {
    setup();
    struct fault fault;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < records(); i++)
            cause_fault(i);
        CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, VTD_PPF);
        cause_fault(99);
        CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, VTD_PPF | VTD_PFO);
        for (unsigned i = 0; i < records(); i++) {
            CHECK(vtd_fault(&fault));
            CHECK_EQUAL(fault.address, IOVA + i * PAGE_SIZE);
            CHECK_EQUAL(fault.reason, NO_READ);
            CHECK_EQUAL(fault.source, edu.bdf);
        }
        CHECK(!vtd_fault(&fault));
        /* As long as the overflow stands, nothing more is recorded. */
        CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, VTD_PFO);
        cause_fault(98);
        CHECK(!vtd_fault(&fault));
        write32(vtd.base + VTD_FSTS, VTD_PFO);
        vtd_expect_no_fault();
        cause_fault(1);
        vtd_expect_fault(NO_READ, edu.bdf, IOVA + PAGE_SIZE, true);
        /* The ring goes on where it was: make the next round begin elsewhere. */
    }
}

CASE(event) {
    setup();
    apic_start();
    /* Masked after power-on: a fault waits, and no message with vector 0 goes out. */
    CHECK_EQUAL(read32(vtd.base + VTD_FECTL), 1u << 31);
    cause_fault(0);
    settle();
    CHECK_EQUAL(read32(vtd.base + VTD_FECTL), 3u << 30);
    for (unsigned vector = 32; vector < 256; vector++)
        CHECK_EQUAL(interrupts[vector], 0);
    write32(vtd.base + VTD_FEDATA, VECTOR);
    write32(vtd.base + VTD_FEADDR, MSI_ADDRESS);
    write32(vtd.base + VTD_FEUADDR, 0);
    write32(vtd.base + VTD_FECTL, 0);
    WAIT_FOR(interrupts[VECTOR] == 1);
    CHECK_EQUAL(read32(vtd.base + VTD_FECTL), 0);
    /* One event until everything has been looked at. */
    cause_fault(1);
    settle();
    CHECK_EQUAL(interrupts[VECTOR], 1);
    struct fault fault;
    CHECK(vtd_fault(&fault) && vtd_fault(&fault));
    vtd_expect_no_fault();
    cause_fault(2);
    WAIT_FOR(interrupts[VECTOR] == 2);
    /* What has been looked at while it was masked is no event any more. */
    CHECK(vtd_fault(&fault));
    write32(vtd.base + VTD_FECTL, 1u << 31);
    cause_fault(3);
    CHECK_EQUAL(read32(vtd.base + VTD_FECTL), 3u << 30);
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(read32(vtd.base + VTD_FECTL), 1u << 31);
    write32(vtd.base + VTD_FECTL, 0);
    settle();
    CHECK_EQUAL(interrupts[VECTOR], 2);
}

/* A queue error is told by the same event. */
CASE(event_of_the_queue) {
    vtd_start();
    apic_start();
    write32(vtd.base + VTD_FEDATA, VECTOR);
    write32(vtd.base + VTD_FEADDR, MSI_ADDRESS);
    write32(vtd.base + VTD_FECTL, 0);
    vtd_submit(0xF, 0);
    vtd_kick();
    WAIT_FOR(interrupts[VECTOR] == 1);
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, VTD_IQE);
}

/* The context entry says that nobody wants to hear. */
CASE(processing_disabled) {
    setup();
    vtd_context(edu.bdf)[0] |= 2;
    vtd_flush_everything();
    u32 *to = pages(1);
    edu_write(edu, (u64)to, 0, 4);
    cause_fault(0);
    vtd_expect_no_fault();
    /* Also in an entry that is not present. */
    vtd_context(edu.bdf)[0] = 2;
    vtd_flush_everything();
    cause_fault(0);
    vtd_expect_no_fault();
}

/* Records and status change by writing ones, each bit on its own. */
CASE(write_one_to_clear) {
    setup();
    cause_fault(0);
    u64 record = vtd.base + (vtd.capabilities >> 24 & 0x3FF) * 16 + (read32(vtd.base + VTD_FSTS) >> 8 & 0xFF) * 16;
    u64 low = read64(record), high = read64(record + 8);
    write64(record, ~0ul);
    write32(record + 8, ~0u);
    write32(record + 12, 0x7FFFFFFF);
    CHECK_EQUAL(read64(record), low);
    CHECK_EQUAL(read64(record + 8), high);
    /* An overflow is not cleared along with something else. */
    for (unsigned i = 1; i <= records(); i++)
        cause_fault(i);
    write32(vtd.base + VTD_FSTS, ~(u32)VTD_PFO);
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, VTD_PPF | VTD_PFO);
    write32(vtd.base + VTD_FSTS, VTD_PFO);
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, VTD_PPF);
}

/* A flood of faults costs the machine nothing but time that it gets back. */
CASE(flood) {
    setup();
    for (unsigned i = 0; i < 3000; i++)
        cause_fault(i);
    CHECK_EQUAL(read32(vtd.base + VTD_FSTS) & 0xFF, VTD_PPF | VTD_PFO);
}
