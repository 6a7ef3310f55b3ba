/* Starting other processors by INIT and SIPI. */
#include "guest.h"

#define TRAMPOLINE 0x8000ul

extern char trampoline[], trampoline_end[];
u32 next_stack;
static void (*volatile next_work)(void);
static volatile bool arrived;

void runtime_processor_start(void) {
    void (*work)(void) = next_work;
    load_interrupt_table();
    arrived = true;
    work();
}

void processor_start(u32 id, void (*work)(void)) {
    memcpy((void *)TRAMPOLINE, trampoline, (size_t)(trampoline_end - trampoline));
    next_stack = (u32)(u64)pages(2) + 2 * PAGE_SIZE;
    next_work = work;
    arrived = false;
    apic_send(0x4500, id);
    settle();
    apic_send(0x4600 | TRAMPOLINE >> 12, id);
    WAIT_FOR(arrived);
}

unsigned processors(u32 ids[], unsigned limit) {
    const struct acpi_header *madt = acpi_table("APIC");
    CHECK(madt != NULL);
    unsigned count = 0;
    const u8 *end = (const u8 *)madt + madt->length;
    for (const u8 *at = (const u8 *)madt + 44; at < end && at[1] >= 2; at += at[1]) {
        bool local = at[0] == 0 && at[4] & 1, extended = at[0] == 9 && at[8] & 1;
        if ((local || extended) && count < limit)
            ids[count++] = local ? at[3] : *(const u32 *)(at + 4);
    }
    return count;
}
