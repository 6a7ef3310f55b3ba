/* Interrupt table, local APIC, IOAPIC. */
#include "guest.h"

#define APIC_BASE_MSR 0x1B
#define X2APIC_MSR 0x800
#define APIC 0xFEE00000ul
#define IOAPIC 0xFEC00000ul

/* Register offsets of the memory-mapped local APIC; the MSR is 0x800 plus a sixteenth. */
enum { ID = 0x20, EOI = 0xB0, SPURIOUS = 0xF0, IRR = 0x200, ICR = 0x300, ICR_HIGH = 0x310, LINT0 = 0x350 };

volatile u32 interrupts[256];
void (*volatile on_interrupt)(u8 vector);

extern const u64 vector_stubs;
/* x2APIC is used as soon as the processor has it; all processors agree. */
static bool x2apic;
static volatile bool started;

static u32 apic_read(u32 offset) {
    return x2apic ? (u32)read_msr(X2APIC_MSR + offset / 16) : read32(APIC + offset);
}

static void apic_write(u32 offset, u32 value) {
    if (x2apic)
        write_msr(X2APIC_MSR + offset / 16, value);
    else
        write32(APIC + offset, value);
}

void load_interrupt_table(void) {
    static u64 table[256][2];
    for (u64 vector = 0; vector < 256; vector++) {
        u64 stub = vector_stubs + vector * 16;
        /* Present interrupt gate to the code segment. */
        table[vector][0] = (stub & 0xFFFF) | 0x08ul << 16 | 0x8E00ul << 32 | (stub >> 16 & 0xFFFF) << 48;
        table[vector][1] = stub >> 32;
    }
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) pointer = {sizeof table - 1, (u64)table};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void runtime_interrupt(u64 vector, u64 error, u64 address) {
    if (vector < 32) {
        u64 where;
        __asm__ volatile("mov %%cr2, %0" : "=r"(where));
        print("FAILED: exception %u, error %lx, at %lx, cr2 %lx\n", (u32)vector, error, address, where);
        leave(3);
    }
    interrupts[vector]++;
    if (on_interrupt)
        on_interrupt((u8)vector);
    /* Spurious ones have no end. */
    if (started && vector != 0xFF)
        apic_write(EOI, 0);
}

void apic_start(void) {
    u32 registers[4];
    cpuid(1, 0, registers);
    x2apic = registers[2] >> 21 & 1;
    u64 base = read_msr(APIC_BASE_MSR) | 1 << 11;
    write_msr(APIC_BASE_MSR, base);
    if (x2apic)
        write_msr(APIC_BASE_MSR, base | 1 << 10);
    apic_write(SPURIOUS, 0x1FF);
    started = true;
}

u32 apic_id(void) { return x2apic ? apic_read(ID) : apic_read(ID) >> 24; }

void apic_send(u32 command, u32 destination) {
    if (x2apic) {
        write_msr(X2APIC_MSR + ICR / 16, (u64)destination << 32 | command);
    } else {
        apic_write(ICR_HIGH, destination << 24);
        apic_write(ICR, command);
    }
}

void apic_accept_pic(void) { apic_write(LINT0, 0x700); }

bool apic_requested(u8 vector) { return apic_read(IRR + (vector / 32u) * 16) >> (vector % 32) & 1; }

u32 ioapic_read(u8 index) {
    write32(IOAPIC, index);
    return read32(IOAPIC + 0x10);
}

void ioapic_write(u8 index, u32 value) {
    write32(IOAPIC, index);
    write32(IOAPIC + 0x10, value);
}

void ioapic_redirect(u8 pin, u64 entry) {
    u8 index = (u8)(0x10 + 2 * pin);
    ioapic_write(index, IOAPIC_MASKED);
    ioapic_write(index + 1, (u32)(entry >> 32));
    ioapic_write(index, (u32)entry);
}

u64 ioapic_entry(u8 pin) {
    u8 index = (u8)(0x10 + 2 * pin);
    return (u64)ioapic_read(index + 1) << 32 | ioapic_read(index);
}

void ioapic_end(u8 vector) { write32(IOAPIC + 0x40, vector); }
