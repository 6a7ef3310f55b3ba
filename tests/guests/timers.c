/* The 8254, the 8259 pair and the real-time clock: what a guest without paravirtual clocks lives on. */
#include "runtime/guest.h"

#define PIC_BASE 0x20
#define PIT_HZ 1193182u

/* Gives the 8259 pair its vectors, everything masked but `open`. */
static void pic_start(u16 open) {
    out8(0x20, 0x11);
    out8(0xA0, 0x11);
    out8(0x21, PIC_BASE);
    out8(0xA1, PIC_BASE + 8);
    out8(0x21, 1 << 2);
    out8(0xA1, 2);
    out8(0x21, 1);
    out8(0xA1, 1);
    out8(0x21, (u8)~open);
    out8(0xA1, (u8)(~open >> 8));
}

static void pic_end(u8 vector) {
    if (vector >= PIC_BASE + 8 && vector < PIC_BASE + 16)
        out8(0xA0, 0x20);
    if (vector >= PIC_BASE && vector < PIC_BASE + 16)
        out8(0x20, 0x20);
}

/* Programs a channel: low byte, then high byte. */
static void pit(unsigned channel, u8 mode, u16 count) {
    out8(0x43, (u8)(channel << 6 | 3 << 4 | mode << 1));
    out8((u16)(0x40 + channel), (u8)count);
    out8((u16)(0x40 + channel), (u8)(count >> 8));
}

static u16 pit_count(unsigned channel) {
    out8(0x43, (u8)(channel << 6));
    u8 low = in8((u16)(0x40 + channel));
    return (u16)(low | in8((u16)(0x40 + channel)) << 8);
}

CASE(tick_through_the_pic) {
    apic_start();
    apic_accept_pic();
    on_interrupt = pic_end;
    pic_start(1);
    pit(0, 2, PIT_HZ / 200);
    WAIT_FOR(interrupts[PIC_BASE] >= 20);
    /* And not without the end of the one before. */
    on_interrupt = NULL;
    settle();
    u32 count = interrupts[PIC_BASE];
    settle();
    settle();
    CHECK_EQUAL(interrupts[PIC_BASE], count);
}

CASE(pic_masks) {
    apic_start();
    apic_accept_pic();
    on_interrupt = pic_end;
    pic_start(0);
    pit(0, 2, PIT_HZ / 500);
    settle();
    settle();
    CHECK_EQUAL(interrupts[PIC_BASE], 0);
    CHECK_EQUAL(in8(0x21), 0xFF);
    out8(0x21, 0xFE);
    WAIT_FOR(interrupts[PIC_BASE] >= 3);
}

/* The pin of an ISA interrupt, by the overrides in the MADT. */
static u8 pin_of(u8 isa) {
    const u8 *madt = (const u8 *)acpi_table("APIC");
    const u8 *end = madt + *(const u32 *)(madt + 4);
    for (const u8 *at = madt + 44; at < end && at[1] >= 2; at += at[1])
        if (at[0] == 2 && at[3] == isa)
            return at[4];
    return isa;
}

CASE(tick_through_the_ioapic) {
    apic_start();
    pic_start(0);
    pit(0, 2, PIT_HZ / 200);
    ioapic_redirect(pin_of(0), 0x80);
    WAIT_FOR(interrupts[0x80] >= 20);
    ioapic_redirect(pin_of(0), 0x80 | IOAPIC_MASKED);
    settle();
    u32 count = interrupts[0x80];
    settle();
    settle();
    CHECK_EQUAL(interrupts[0x80], count);
}

CASE(one_shot) {
    apic_start();
    pic_start(0);
    ioapic_redirect(pin_of(0), 0x80);
    pit(0, 0, 2000);
    WAIT_FOR(interrupts[0x80] >= 1);
    u32 count = interrupts[0x80];
    settle();
    settle();
    CHECK_EQUAL(interrupts[0x80], count);
    pit(0, 0, 2000);
    WAIT_FOR(interrupts[0x80] == count + 1);
}

/* The counter goes down and begins again; channel 2 tells its output by the speaker's port. */
CASE(counting) {
    pit(0, 2, 0xFFFF);
    unsigned changes = 0;
    for (u16 last = pit_count(0); changes < 100;) {
        u16 now = pit_count(0);
        changes += now != last;
        last = now;
    }
    out8(0x61, (u8)((in8(0x61) & ~2u) | 1));
    pit(2, 0, 20000);
    CHECK_EQUAL(in8(0x61) & 0x20, 0);
    u64 start = ticks();
    WAIT_FOR(in8(0x61) & 0x20);
    /* 16.8 ms: on any processor more than 5 and less than 2000 million ticks. */
    u64 passed = ticks() - start;
    CHECK(passed > 5000000 && passed < 2000000000);
    /* Without its gate it stands still. */
    out8(0x61, in8(0x61) & ~3u);
    pit(2, 0, 1000);
    settle();
    CHECK_EQUAL(in8(0x61) & 0x20, 0);
}

/* --- The real-time clock -------------------------------------------------------------------------- */

static u8 cmos(u8 index) {
    out8(0x70, index | 0x80);
    return in8(0x71);
}

static unsigned number(u8 value) {
    return cmos(0x0B) & 4 ? value : (value >> 4) * 10u + (value & 0xF);
}

CASE(clock) {
    WAIT_FOR(!(cmos(0x0A) & 0x80));
    unsigned second = number(cmos(0)), minute = number(cmos(2)), day = number(cmos(7)), month = number(cmos(8));
    unsigned year = number(cmos(9)), century = number(cmos(0x32));
    CHECK(second < 60 && minute < 60 && day >= 1 && day <= 31 && month >= 1 && month <= 12);
    CHECK(century * 100 + year >= 2024);
    CHECK(cmos(0x0D) & 0x80);
    WAIT_FOR(number(cmos(0)) != second);
    CHECK_EQUAL(number(cmos(0)), (second + 1) % 60);
}

/* What firmware would keep there stays. */
CASE(cmos_memory) {
    out8(0x70, 0x50);
    out8(0x71, 0xA7);
    out8(0x70, 0x51);
    out8(0x71, 0x15);
    CHECK_EQUAL(cmos(0x50), 0xA7);
    CHECK_EQUAL(cmos(0x51), 0x15);
}
