/* More than one processor. */
#include "runtime/edu.h"
#include "runtime/vtd.h"

#define VECTOR 0x91
#define INDEX 3

static u32 ids[64];
static unsigned count;
static volatile u32 reported[64];
static volatile unsigned reports;
static volatile u32 taken_by[64];

/* The x2APIC ID that the processor's topology leaf gives; the initial ID where there is no such leaf. */
static u32 topology_id(void) {
    u32 registers[4];
    cpuid(0, 0, registers);
    if (registers[0] >= 0xB) {
        cpuid(0xB, 0, registers);
        if (registers[1] != 0)
            return registers[3];
    }
    cpuid(1, 0, registers);
    return registers[1] >> 24;
}

static unsigned index_of(u32 id) {
    for (unsigned i = 0; i < count; i++)
        if (ids[i] == id)
            return i;
    fail(__FILE__, __LINE__, "the processor is in the MADT");
}

static void note_taker(u8 vector) {
    if (vector == VECTOR)
        __atomic_add_fetch(&taken_by[index_of(apic_id())], 1, __ATOMIC_SEQ_CST);
}

static void report(void) {
    apic_start();
    CHECK_EQUAL(apic_id(), topology_id());
    __atomic_add_fetch(&reported[index_of(apic_id())], 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&reports, 1, __ATOMIC_SEQ_CST);
    enable_interrupts();
    for (;;)
        __asm__ volatile("hlt");
}

static void start_all(void) {
    apic_start();
    count = processors(ids, ARRAY_LENGTH(ids));
    CHECK_EQUAL(count, argument("cpus", count));
    CHECK_EQUAL(ids[0], apic_id());
    on_interrupt = note_taker;
    for (unsigned i = 1; i < count; i++)
        processor_start(ids[i], report);
    WAIT_FOR(reports == count - 1);
}

/* Every processor of the MADT comes up under the ID it has there. */
CASE(bring_up) {
    start_all();
    for (unsigned i = 1; i < count; i++)
        CHECK_EQUAL(reported[i], 1);
}

CASE(interprocessor_interrupts) {
    start_all();
    for (unsigned i = 1; i < count; i++) {
        apic_send(0x4000 | VECTOR, ids[i]);
        WAIT_FOR(taken_by[i] == 1);
    }
    CHECK_EQUAL(taken_by[0], 0);
}

/* An entry's destination decides which processor takes the interrupt. */
CASE(remapped_destination) {
    start_all();
    struct edu edu = edu_find(0);
    vtd_start();
    vtd_remap_interrupts(true);
    pci_msi(edu.bdf, vtd_message(INDEX), 0);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < count; i++) {
            vtd_interrupt_entry(INDEX, VECTOR, edu.bdf);
            vtd.entries[INDEX][0] |= (u64)ids[i] << 32;
            vtd_flush_entry(INDEX);
            edu_raise(edu, 1);
            edu_acknowledge(edu, 1);
            WAIT_FOR(taken_by[i] == round);
        }
    }
    vtd_expect_no_fault();
}

/* Two processors use the queue, its registers and a device at once, one of them wildly. */
static volatile bool stop, stopped;
static void disturb(void) {
    apic_start();
    u64 seed = 1;
    while (!stop) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        u64 offset = (seed >> 33) & 0xFF;
        read32(vtd.base + (offset & ~3ul));
        write32(vtd.base + VTD_FSTS, 0xFFFFFFFF);
        write32(vtd.base + VTD_ICS, 1);
    }
    stopped = true;
    for (;;)
        __asm__ volatile("hlt");
}

CASE(registers_from_two_processors) {
    apic_start();
    count = processors(ids, ARRAY_LENGTH(ids));
    CHECK(count >= 2);
    struct edu edu = edu_find(0);
    vtd_start();
    u64 *table = vtd_table();
    u32 *from = pages(1), *to = pages(1);
    vtd_attach(edu.bdf, VTD_TABLES, table, 7);
    vtd_translate();
    vtd_map(table, 0x1000, (u64)to, 1, VTD_WRITE);
    processor_start(ids[1], disturb);
    for (u32 round = 1; round <= 300; round++) {
        *from = round;
        vtd_map(table, 0, (u64)from, 1, VTD_READ);
        vtd_flush_pages(7, 0, 1);
        edu_copy_word(edu, 0, 0x1000);
        CHECK_EQUAL(*to, round);
        vtd_entry(table, 0, 1)[0] = 0;
        vtd_flush_pages(7, 0, 0);
        edu_copy_word(edu, 0, 0x1000);
    }
    stop = true;
    WAIT_FOR(stopped);
}
