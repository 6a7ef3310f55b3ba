/* The IOAPIC: edges and levels, with remapping and without. */
#include "runtime/edu.h"
#include "runtime/vtd.h"

#define VECTOR 0x71
#define INDEX 9
#define COM1 0x3F8
#define COM1_PIN 4

/* An unmasked entry, fixed, to processor 0. */
static u64 direct(u8 vector, u32 flags) { return vector | flags; }

/* An unmasked entry that names a remapping entry; the vector is what ends the interrupt. */
static u64 remappable(u8 vector, u16 index, u32 flags) {
    return vector | flags | 1ul << 48 | (u64)(index & 0x7FFF) << 49 | (u64)(index >> 15) << 11;
}

CASE(identity) {
    u32 version = ioapic_read(1);
    CHECK_EQUAL(version & 0xFF, 0x20);
    CHECK_EQUAL(version >> 16 & 0xFF, 23);
    for (u8 pin = 0; pin < 24; pin++)
        CHECK_EQUAL(ioapic_entry(pin) & IOAPIC_MASKED, IOAPIC_MASKED);
    ioapic_write(0x3F, ~0u);
    ioapic_write(0xFF, ~0u);
    ioapic_redirect(23, 0xAB00000000000000 | IOAPIC_MASKED | IOAPIC_LEVEL | 0x7E);
    CHECK_EQUAL(ioapic_entry(23), 0xAB00000000000000 | IOAPIC_MASKED | IOAPIC_LEVEL | 0x7E);
}

/* Makes the serial port say that its transmitter is empty. */
static void serial_interrupt(void) {
    out8(COM1 + 1, 0);
    out8(COM1 + 4, 0x0B);
    out8(COM1 + 1, 2);
}

CASE(edge) {
    apic_start();
    ioapic_redirect(COM1_PIN, direct(VECTOR, 0));
    serial_interrupt();
    WAIT_FOR(interrupts[VECTOR] == 1);
    in8(COM1 + 2);
    /* Nothing comes from a masked pin. */
    ioapic_redirect(COM1_PIN, direct(VECTOR, IOAPIC_MASKED));
    serial_interrupt();
    settle();
    in8(COM1 + 2);
    CHECK_EQUAL(interrupts[VECTOR], 1);
}

CASE(edge_remapped) {
    apic_start();
    vtd_start();
    vtd_remap_interrupts(true);
    vtd_interrupt_entry(INDEX, VECTOR, vtd.ioapic);
    vtd_flush_entry(INDEX);
    ioapic_redirect(COM1_PIN, remappable(COM1_PIN, INDEX, 0));
    serial_interrupt();
    WAIT_FOR(interrupts[VECTOR] == 1);
    in8(COM1 + 2);
    vtd_expect_no_fault();
    /* The IOAPIC has a requester ID of its own, and is checked like any other. */
    CHECK(vtd.ioapic != 0);
    vtd_interrupt_entry(INDEX, VECTOR, vtd.ioapic ^ 1);
    vtd_flush_entry(INDEX);
    serial_interrupt();
    settle();
    in8(COM1 + 2);
    CHECK_EQUAL(interrupts[VECTOR], 1);
    vtd_expect_fault(WRONG_SOURCE, vtd.ioapic, (u64)INDEX << 48, false);
    /* An entry without the remappable format is a compatibility-format request. */
    ioapic_redirect(COM1_PIN, direct(VECTOR, 0));
    serial_interrupt();
    settle();
    in8(COM1 + 2);
    CHECK_EQUAL(interrupts[VECTOR], 1);
    vtd_expect_fault(COMPATIBILITY_BLOCKED, vtd.ioapic, 0, false);
}

/* --- Levels --------------------------------------------------------------------------------------- */

static struct edu edu;
static u8 edu_pin;
static volatile unsigned seen;

/* Masks the pin, so that a level that stays does not come in again and again. */
static void mask_pin(u8 vector) {
    if (vector == VECTOR) {
        /* Some KVMs that run in software say that an interrupt has ended when it has only begun. */
        if (!(ioapic_entry(edu_pin) & IOAPIC_REMOTE_IRR))
            skip("KVM reports the end of an interrupt before the guest ends it");
        seen++;
        ioapic_write((u8)(0x10 + 2 * edu_pin), IOAPIC_MASKED | IOAPIC_LEVEL | IOAPIC_LOW | VECTOR);
    }
}

static volatile u8 first_vector;
static void note_vector(u8 vector) {
    first_vector = vector;
    edu_acknowledge(edu, ~0u);
}

/* Finds the pin the device's wire leads to by trying them all. */
static void find_pin(void) {
    edu = edu_find(0);
    on_interrupt = note_vector;
    for (u8 pin = 16; pin < 24; pin++)
        ioapic_redirect(pin, direct((u8)(0x80 + pin), IOAPIC_LEVEL | IOAPIC_LOW));
    edu_raise(edu, 1);
    WAIT_FOR(first_vector != 0);
    edu_pin = first_vector - 0x80;
    print("  the device's wire leads to pin %u\n", edu_pin);
    on_interrupt = NULL;
    for (u8 pin = 16; pin < 24; pin++)
        ioapic_redirect(pin, IOAPIC_MASKED);
}

/* A level comes in once for each time it is ended, as long as it stays. */
CASE(level) {
    apic_start();
    find_pin();
    on_interrupt = mask_pin;
    ioapic_redirect(edu_pin, direct(VECTOR, IOAPIC_LEVEL | IOAPIC_LOW));
    for (unsigned round = 1; round <= 3; round++) {
        edu_raise(edu, 1);
        WAIT_FOR(seen == 2 * round - 1);
        /* It still stands: unmasked, it comes in again. */
        ioapic_write((u8)(0x10 + 2 * edu_pin), VECTOR | IOAPIC_LEVEL | IOAPIC_LOW);
        WAIT_FOR(seen == 2 * round);
        edu_acknowledge(edu, 1);
        ioapic_write((u8)(0x10 + 2 * edu_pin), VECTOR | IOAPIC_LEVEL | IOAPIC_LOW);
        settle();
        CHECK_EQUAL(seen, 2 * round);
        CHECK_EQUAL(ioapic_entry(edu_pin) & IOAPIC_REMOTE_IRR, 0);
    }
}

/* Ended by nothing but the acknowledgement: the usual way of a driver. Like a driver it counts only what it has
 * a cause for: where KVM reports the end of an interrupt before the guest ends it, the level comes in once more. */
static void acknowledge(u8 vector) {
    if (vector == VECTOR && read32(edu.base + EDU_CAUSES) != 0) {
        seen++;
        edu_acknowledge(edu, 1);
    }
}

CASE(level_of_a_driver) {
    apic_start();
    find_pin();
    on_interrupt = acknowledge;
    ioapic_redirect(edu_pin, direct(VECTOR, IOAPIC_LEVEL | IOAPIC_LOW));
    for (unsigned round = 1; round <= 20; round++) {
        edu_raise(edu, 1);
        WAIT_FOR(seen == round);
    }
    settle();
    CHECK_EQUAL(seen, 20);
}

/* As Linux does it under remapping: the entry is edge-triggered, the pin's vector is its number, and the
 * end is written to the IOAPIC. */
CASE(level_remapped) {
    apic_start();
    find_pin();
    vtd_start();
    vtd_remap_interrupts(true);
    vtd_interrupt_entry(INDEX, VECTOR, vtd.ioapic);
    vtd_flush_entry(INDEX);
    ioapic_redirect(edu_pin, remappable(edu_pin, INDEX, IOAPIC_LEVEL | IOAPIC_LOW));
    for (unsigned round = 1; round <= 3; round++) {
        edu_raise(edu, 1);
        WAIT_FOR(interrupts[VECTOR] == 2 * round - 1);
        /* Nothing more until it is ended; then again, for the level stands. */
        settle();
        CHECK_EQUAL(interrupts[VECTOR], 2 * round - 1);
        CHECK_EQUAL(ioapic_entry(edu_pin) & IOAPIC_REMOTE_IRR, IOAPIC_REMOTE_IRR);
        ioapic_end(edu_pin);
        WAIT_FOR(interrupts[VECTOR] == 2 * round);
        edu_acknowledge(edu, 1);
        ioapic_end(edu_pin);
        settle();
        CHECK_EQUAL(interrupts[VECTOR], 2 * round);
        CHECK_EQUAL(ioapic_entry(edu_pin) & IOAPIC_REMOTE_IRR, 0);
    }
    vtd_expect_no_fault();
}

/* An entry that changes takes the pin elsewhere. */
CASE(entry_changes) {
    apic_start();
    find_pin();
    vtd_start();
    vtd_remap_interrupts(true);
    vtd_interrupt_entry(INDEX, VECTOR, vtd.ioapic);
    vtd_flush_entry(INDEX);
    ioapic_redirect(edu_pin, remappable(edu_pin, INDEX, IOAPIC_LEVEL | IOAPIC_LOW));
    on_interrupt = acknowledge;
    edu_raise(edu, 1);
    WAIT_FOR(interrupts[VECTOR] == 1);
    ioapic_end(edu_pin);
    vtd_interrupt_entry(INDEX, VECTOR + 1, vtd.ioapic);
    vtd_flush_entry(INDEX);
    edu_raise(edu, 1);
    WAIT_FOR(interrupts[VECTOR + 1] == 1);
    edu_acknowledge(edu, 1);
    ioapic_end(edu_pin);
    settle();
    CHECK_EQUAL(interrupts[VECTOR], 1);
    CHECK_EQUAL(interrupts[VECTOR + 1], 1);
}

/* A level that was blocked comes in once the entry is right and the pin is looked at again. */
CASE(blocked_level_is_not_lost) {
    apic_start();
    find_pin();
    vtd_start();
    vtd_remap_interrupts(true);
    ioapic_redirect(edu_pin, remappable(edu_pin, INDEX, IOAPIC_LEVEL | IOAPIC_LOW));
    on_interrupt = acknowledge;
    edu_raise(edu, 1);
    settle();
    struct fault fault;
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(fault.reason, ENTRY_NOT_PRESENT);
    vtd_interrupt_entry(INDEX, VECTOR, vtd.ioapic);
    vtd_flush_entry(INDEX);
    ioapic_end(edu_pin);
    ioapic_redirect(edu_pin, remappable(edu_pin, INDEX, IOAPIC_LEVEL | IOAPIC_LOW));
    WAIT_FOR(interrupts[VECTOR] >= 1);
}

/* The wire is shared with the command register: a driver that disables it hears nothing. */
CASE(wire_disabled) {
    apic_start();
    find_pin();
    on_interrupt = acknowledge;
    ioapic_redirect(edu_pin, direct(VECTOR, IOAPIC_LEVEL | IOAPIC_LOW));
    pci_enable(edu.bdf, PCI_INTX_DISABLE);
    edu_raise(edu, 1);
    settle();
    CHECK_EQUAL(seen, 0);
    CHECK(pci_read16(edu.bdf, 6) & 8);
    pci_write16(edu.bdf, PCI_COMMAND, PCI_MEMORY | PCI_MASTER);
    WAIT_FOR(seen == 1);
}
