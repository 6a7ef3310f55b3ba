/* The ways in which a machine ends. Each case ends it: the exit code says that it came to that. */
#include "runtime/guest.h"

static const u8 *fadt(void) {
    const u8 *table = (const u8 *)acpi_table("FACP");
    CHECK(table != NULL);
    return table;
}

/* The sleep type of S5: the first number in the DSDT's \_S5 package. */
static u8 sleep_type(void) {
    const u8 *dsdt = (const u8 *)(u64) * (const u32 *)(fadt() + 40);
    if (*(const u32 *)(fadt() + 4) >= 148 && *(const u64 *)(fadt() + 140) != 0)
        dsdt = (const u8 *)*(const u64 *)(fadt() + 140);
    u32 length = *(const u32 *)(dsdt + 4);
    for (u32 i = 36; i + 12 < length; i++) {
        if (memcmp(dsdt + i, "_S5_", 4) != 0)
            continue;
        /* Package, its length, its count, then a byte with or without a prefix. */
        const u8 *at = dsdt + i + 4;
        CHECK_EQUAL(at[0], 0x12);
        at += 1 + (at[1] >> 6) + 1 + 1;
        return at[0] == 0x0A ? at[1] : at[0];
    }
    fail(__FILE__, __LINE__, "there is an S5 state");
}

CASE(power_off) {
    u16 control = (u16) * (const u32 *)(fadt() + 64);
    CHECK(control != 0);
    out16(control, (u16)(sleep_type() << 10 | 1 << 13));
    settle();
    fail(__FILE__, __LINE__, "the machine is off");
}

CASE(reset_register) {
    CHECK(*(const u32 *)(fadt() + 112) & 1 << 10);
    CHECK_EQUAL(fadt()[116], 1);
    out8((u16) * (const u64 *)(fadt() + 120), fadt()[128]);
    settle();
    fail(__FILE__, __LINE__, "the machine is reset");
}

CASE(keyboard_controller_reset) {
    out8(0x64, 0xFE);
    settle();
    fail(__FILE__, __LINE__, "the machine is reset");
}

CASE(triple_fault) {
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) nothing = {0, 0};
    __asm__ volatile("lidt %0; ud2" : : "m"(nothing));
}
