/* Interrupts through the remapping unit, and without it. */
#include "runtime/edu.h"
#include "runtime/vtd.h"

/* What the device is told to send, and what the table makes of it. */
#define SENT 0x61
#define REMAPPED 0x62
#define MOVED 0x63
#define INDEX 5

static struct edu edu;

static void setup(void) {
    edu = edu_find(0);
    vtd_start();
    apic_start();
}

/* Remapping on and the device sending MSI through entry INDEX. */
static void setup_remapped(bool extended) {
    setup();
    vtd_remap_interrupts(extended);
    vtd_interrupt_entry(INDEX, REMAPPED, edu.bdf);
    vtd_flush_entry(INDEX);
    pci_msi(edu.bdf, vtd_message(INDEX), SENT);
}

/* Raises the device's interrupt and acknowledges it. */
static void send(void) {
    edu_raise(edu, 1);
    edu_acknowledge(edu, 1);
}

/* Sends, and checks that nothing arrives but a fault record. */
static void expect_blocked(u8 reason, u16 index) {
    u32 before[256];
    settle();
    for (unsigned i = 0; i < 256; i++)
        before[i] = interrupts[i];
    send();
    settle();
    vtd_expect_fault(reason, edu.bdf, (u64)index << 48, false);
    for (unsigned i = 0; i < 256; i++)
        CHECK_EQUAL(interrupts[i], before[i]);
}

CASE(without_remapping) {
    setup();
    pci_msi(edu.bdf, MSI_ADDRESS, SENT);
    send();
    WAIT_FOR(interrupts[SENT] == 1);
    send();
    WAIT_FOR(interrupts[SENT] == 2);
    vtd_expect_no_fault();
}

CASE(remapped) {
    setup_remapped(true);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
    CHECK_EQUAL(interrupts[SENT], 0);
    vtd_expect_no_fault();
}

CASE(remapped_with_short_destinations) {
    setup_remapped(false);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
    vtd_expect_no_fault();
}

CASE(subhandle) {
    setup_remapped(true);
    pci_msi(edu.bdf, vtd_message(INDEX - 3) | 1 << 3, 3);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
}

/* The device may not use what belongs to another. */
CASE(wrong_source) {
    setup_remapped(true);
    vtd_interrupt_entry(INDEX, REMAPPED, edu.bdf ^ 8);
    vtd_flush_entry(INDEX);
    expect_blocked(WRONG_SOURCE, INDEX);
    /* With the function number left out of the comparison it may. */
    vtd_interrupt_entry(INDEX, REMAPPED, edu.bdf ^ 7);
    vtd.entries[INDEX][1] |= 3 << 16;
    vtd_flush_entry(INDEX);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
}

/* A message that comes through a bridge to conventional PCI bears the ID that the bridge gives to all. */
CASE(behind_a_bridge) {
    setup();
    edu = edu_find(1);
    bdf_t own = edu.bdf, alias = own & 0xFF00;
    CHECK(alias != 0 && own != alias);
    vtd_remap_interrupts(true);
    pci_msi(own, vtd_message(INDEX), SENT);
    vtd_interrupt_entry(INDEX, REMAPPED, alias);
    vtd_flush_entry(INDEX);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
    vtd_interrupt_entry(INDEX, REMAPPED, own);
    vtd_flush_entry(INDEX);
    send();
    settle();
    vtd_expect_fault(WRONG_SOURCE, alias, (u64)INDEX << 48, false);
    CHECK_EQUAL(interrupts[REMAPPED], 1);
    /* Stock kernels check the bus alone. */
    vtd.entries[INDEX][1] = 2ul << 18 | (u64)(alias >> 8) << 8 | alias >> 8;
    vtd_flush_entry(INDEX);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 2);
}

/* A range of buses holds the first in its upper byte and the last in its lower. */
CASE(source_by_bus) {
    setup_remapped(true);
    u64 bus = edu.bdf >> 8;
    vtd.entries[INDEX][1] = 2ul << 18 | bus << 8 | (bus + 5);
    vtd_flush_entry(INDEX);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
    vtd.entries[INDEX][1] = 2ul << 18 | (bus + 1) << 8 | (bus + 5);
    vtd_flush_entry(INDEX);
    expect_blocked(WRONG_SOURCE, INDEX);
    vtd.entries[INDEX][1] = 2ul << 18 | (bus + 5) << 8 | bus;
    vtd_flush_entry(INDEX);
    expect_blocked(WRONG_SOURCE, INDEX);
    vtd.entries[INDEX][1] = 3ul << 18 | edu.bdf;
    vtd_flush_entry(INDEX);
    expect_blocked(RESERVED_INTERRUPT_ENTRY, INDEX);
}

CASE(compatibility_blocked) {
    setup_remapped(true);
    pci_msi(edu.bdf, MSI_ADDRESS, SENT);
    expect_blocked(COMPATIBILITY_BLOCKED, 0);
}

/* With short destinations the guest may let them pass. */
CASE(compatibility_allowed) {
    setup_remapped(false);
    pci_msi(edu.bdf, MSI_ADDRESS, SENT);
    expect_blocked(COMPATIBILITY_BLOCKED, 0);
    vtd_command(VTD_COMPATIBILITY, true);
    send();
    WAIT_FOR(interrupts[SENT] == 1);
    vtd_command(VTD_COMPATIBILITY, false);
    expect_blocked(COMPATIBILITY_BLOCKED, 0);
}

/* Never with long ones. */
CASE(compatibility_never_with_long_destinations) {
    setup_remapped(true);
    pci_msi(edu.bdf, MSI_ADDRESS, SENT);
    vtd_command(VTD_COMPATIBILITY, true);
    expect_blocked(COMPATIBILITY_BLOCKED, 0);
}

CASE(bad_entries) {
    setup_remapped(true);
    vtd.entries[INDEX][0] = 0;
    vtd_flush_entry(INDEX);
    expect_blocked(ENTRY_NOT_PRESENT, INDEX);
    vtd_interrupt_entry(INDEX, REMAPPED, edu.bdf);
    vtd.entries[INDEX][0] |= 1 << 12;
    vtd_flush_entry(INDEX);
    expect_blocked(RESERVED_INTERRUPT_ENTRY, INDEX);
    vtd_interrupt_entry(INDEX, REMAPPED, edu.bdf);
    vtd.entries[INDEX][1] |= 1ul << 63;
    vtd_flush_entry(INDEX);
    expect_blocked(RESERVED_INTERRUPT_ENTRY, INDEX);
    /* The table has 256 entries. */
    pci_msi(edu.bdf, vtd_message(256), SENT);
    expect_blocked(BAD_INDEX, 256);
    pci_msi(edu.bdf, vtd_message(0x8000), SENT);
    expect_blocked(BAD_INDEX, 0x8000);
    /* Fault processing disabled: blocked without a record. */
    pci_msi(edu.bdf, vtd_message(INDEX), SENT);
    vtd.entries[INDEX][1] = 0;
    vtd.entries[INDEX][0] = 2;
    vtd_flush_entry(INDEX);
    send();
    settle();
    vtd_expect_no_fault();
    CHECK_EQUAL(interrupts[REMAPPED], 0);
}

/* An entry that changes takes the interrupt elsewhere, without a touch of the device. */
CASE(entry_changes) {
    setup_remapped(true);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
    vtd_interrupt_entry(INDEX, MOVED, edu.bdf);
    vtd_flush_entry(INDEX);
    send();
    WAIT_FOR(interrupts[MOVED] == 1);
    vtd.entries[INDEX][0] = 0;
    vtd_flush_entry(INDEX);
    expect_blocked(ENTRY_NOT_PRESENT, INDEX);
    CHECK_EQUAL(interrupts[REMAPPED], 1);
    CHECK_EQUAL(interrupts[MOVED], 1);
}

/* Neither switching remapping off and on nor a new table leaves an old way open. */
CASE(no_old_ways) {
    setup_remapped(true);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
    vtd_remap_interrupts(true); /* another table, with nothing in it */
    expect_blocked(ENTRY_NOT_PRESENT, INDEX);
    vtd_interrupt_entry(INDEX, MOVED, edu.bdf);
    vtd_flush_entry(INDEX);
    send();
    WAIT_FOR(interrupts[MOVED] == 1);
    vtd_command(VTD_REMAPPING, false);
    pci_msi(edu.bdf, MSI_ADDRESS, SENT);
    send();
    WAIT_FOR(interrupts[SENT] == 1);
    vtd_command(VTD_REMAPPING, true);
    expect_blocked(COMPATIBILITY_BLOCKED, 0);
}

/* A write to the interrupt range is an interrupt, whatever the tables say of that address. */
CASE(sent_by_dma) {
    setup_remapped(true);
    u64 *table = vtd_table();
    u32 *message = pages(1), *decoy = pages(1);
    message[0] = SENT;
    vtd_map(table, (u64)message, (u64)message, 1, VTD_READ);
    vtd_map(table, 0xFEE00000, (u64)decoy, 1, VTD_RW);
    vtd_attach(edu.bdf, VTD_TABLES, table, 7);
    vtd_translate();
    edu_copy_word(edu, (u64)message, vtd_message(INDEX));
    WAIT_FOR(interrupts[REMAPPED] == 1);
    vtd_expect_no_fault();

    /* In compatibility format it is refused like any other. */
    edu_copy_word(edu, (u64)message, MSI_ADDRESS);
    vtd_expect_fault(COMPATIBILITY_BLOCKED, edu.bdf, 0, false);

    /* Other sizes, and reads, are nothing. */
    edu_write(edu, vtd_message(INDEX), 0, 8);
    edu_write(edu, vtd_message(INDEX), 0, 2);
    edu_read(edu, 0xFEE00000, 0, 4);
    settle();
    CHECK_EQUAL(interrupts[REMAPPED], 1);
    CHECK_EQUAL(decoy[0], 0);
}

/* No processor ever sees a vector that nobody chose. */
CASE(nothing_else_arrives) {
    setup_remapped(true);
    for (unsigned i = 0; i < 20; i++)
        send();
    WAIT_FOR(interrupts[REMAPPED] > 0);
    settle();
    for (unsigned vector = 32; vector < 256; vector++)
        CHECK(vector == REMAPPED || interrupts[vector] == 0);
}

/* The register sizes in which the table's address may be written do not matter. */
CASE(table_address_in_halves) {
    setup();
    vtd.entries = pages(1);
    write32(vtd.base + VTD_IRTA, (u32)(u64)vtd.entries | 1 << 11 | 7);
    write32(vtd.base + VTD_IRTA + 4, (u32)((u64)vtd.entries >> 32));
    vtd_command(VTD_ENTRIES, true);
    vtd_interrupt_entry(INDEX, REMAPPED, edu.bdf);
    vtd_submit(4, 0);
    vtd_wait();
    vtd_command(VTD_REMAPPING, true);
    pci_msi(edu.bdf, vtd_message(INDEX), SENT);
    send();
    WAIT_FOR(interrupts[REMAPPED] == 1);
}
