/* The least a machine can do: run, print, and end with a code. */
#include "runtime/guest.h"

CASE(hello) { print("hello from a bare-metal guest\n"); }

/* The code is the guest's to choose. */
CASE(code) { leave((u8)argument("code", 0)); }

/* Arguments and memory map arrive. */
CASE(memory) {
    CHECK(ram_above(0x100000) != 0);
    u64 high = ram_above(1ul << 32);
    CHECK_EQUAL(high != 0, argument("high", 0));
    if (high) {
        write64(high, 0x123456789ABCDEF0);
        CHECK_EQUAL(read64(high), 0x123456789ABCDEF0);
    }
}
