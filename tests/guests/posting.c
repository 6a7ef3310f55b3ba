/* Interrupts posted into descriptors in memory. */
#include "runtime/edu.h"
#include "runtime/vtd.h"

#define POSTED 0x71
#define OTHER 0x95
#define REMAPPED 0x62
#define NOTIFICATION 0xE2
#define INDEX 5
#define OTHER_INDEX 6

/* Faults of posting. */
enum { BAD_DESCRIPTOR = 0x27, RESERVED_DESCRIPTOR = 0x28 };

/* Bits of a descriptor's fifth word, and of an entry's first. */
#define ON 1ul
#define SN 2ul
#define NOTIFY ((u64)apic_id() << 32 | NOTIFICATION << 16)
#define URGENT (1ul << 14)

static struct edu edu;

/* Four words with a bit for each vector, one for notifications, three that are ours. */
static volatile u64 *descriptor;

/* Makes entry `index` post `vector` into the descriptor at `address`. */
static void post(u16 index, u8 vector, u64 address, u64 flags) {
    vtd.entries[index][0] = address << 32 | (u64)vector << 16 | 1 << 15 | flags | 1;
    vtd.entries[index][1] = address >> 32 << 32 | 1 << 18 | edu.bdf;
    vtd_flush_entry(index);
}

static void setup(bool extended) {
    edu = edu_find(0);
    vtd_start();
    apic_start();
    vtd_remap_interrupts(extended);
    /* Not the first of its page: all address bits count. */
    descriptor = (u64 *)pages(1) + 3 * 8;
    descriptor[4] = extended ? NOTIFY : (u64)apic_id() << 40 | NOTIFICATION << 16;
    post(INDEX, POSTED, (u64)descriptor, 0);
    post(OTHER_INDEX, OTHER, (u64)descriptor, 0);
    pci_msi(edu.bdf, vtd_message(INDEX), 0);
}

/* Has the device send the message of entry `index`. */
static void send(u16 index) {
    pci_msi(edu.bdf, vtd_message(index), 0);
    edu_raise(edu, 1);
    edu_acknowledge(edu, 1);
}

/* The vectors posted since the last time, at most one; 0 for none. As software does: first ON, then PIR. */
static u64 take(void) {
    u64 found = 0;
    __atomic_fetch_and(&descriptor[4], ~ON, __ATOMIC_SEQ_CST);
    for (unsigned word = 0; word < 4; word++) {
        u64 bits = __atomic_exchange_n(&descriptor[word], 0, __ATOMIC_SEQ_CST);
        if (bits) {
            CHECK(found == 0 && (bits & (bits - 1)) == 0);
            found = word * 64 + (u64)__builtin_ctzl(bits);
        }
    }
    return found;
}

/* Nothing has arrived since `notifications` were counted, and nothing stands in the descriptor. */
static void expect_nothing(u32 notifications) {
    settle();
    CHECK_EQUAL(interrupts[NOTIFICATION], notifications);
    CHECK_EQUAL(interrupts[POSTED] + interrupts[OTHER], 0);
    for (unsigned word = 0; word < 4; word++)
        CHECK_EQUAL(descriptor[word], 0);
}

/* Sends by INDEX: a fault, and nothing else. */
static void expect_blocked(u8 reason) {
    u32 notifications = interrupts[NOTIFICATION];
    send(INDEX);
    vtd_expect_fault(reason, edu.bdf, (u64)INDEX << 48, false);
    expect_nothing(notifications);
}

CASE(posted_and_notified) {
    setup(true);
    descriptor[5] = descriptor[6] = descriptor[7] = ~0ul;
    send(INDEX);
    CHECK_EQUAL(descriptor[POSTED / 64], 1ul << POSTED % 64);
    CHECK_EQUAL(descriptor[4], NOTIFY | ON);
    WAIT_FOR(interrupts[NOTIFICATION] == 1);
    CHECK_EQUAL(take(), POSTED);
    send(OTHER_INDEX);
    WAIT_FOR(interrupts[NOTIFICATION] == 2);
    CHECK_EQUAL(take(), OTHER);
    CHECK_EQUAL(descriptor[4], NOTIFY);
    /* What is ours stays ours. */
    CHECK(descriptor[5] == ~0ul && descriptor[6] == ~0ul && descriptor[7] == ~0ul);
    expect_nothing(2);
    vtd_expect_no_fault();
}

/* While a notification is outstanding there is no other. */
CASE(notified_once) {
    setup(true);
    for (unsigned i = 0; i < 10; i++)
        send(i % 2 ? INDEX : OTHER_INDEX);
    settle();
    CHECK_EQUAL(interrupts[NOTIFICATION], 1);
    CHECK_EQUAL(descriptor[POSTED / 64], 1ul << POSTED % 64);
    CHECK_EQUAL(descriptor[OTHER / 64], 1ul << OTHER % 64);
    vtd_expect_no_fault();
}

/* Nobody is notified of what is not urgent while that is suppressed. */
CASE(suppressed) {
    setup(true);
    descriptor[4] = NOTIFY | SN;
    send(INDEX);
    settle();
    CHECK_EQUAL(interrupts[NOTIFICATION], 0);
    CHECK_EQUAL(descriptor[4], NOTIFY | SN);
    CHECK_EQUAL(take(), POSTED);
    post(OTHER_INDEX, OTHER, (u64)descriptor, URGENT);
    send(OTHER_INDEX);
    WAIT_FOR(interrupts[NOTIFICATION] == 1);
    CHECK_EQUAL(descriptor[4], NOTIFY | SN | ON);
    /* Urgent or not: it is known already. */
    send(OTHER_INDEX);
    settle();
    CHECK_EQUAL(interrupts[NOTIFICATION], 1);
    CHECK_EQUAL(take(), OTHER);
    vtd_expect_no_fault();
}

CASE(short_destinations) {
    setup(false);
    send(INDEX);
    WAIT_FOR(interrupts[NOTIFICATION] == 1);
    CHECK_EQUAL(take(), POSTED);
    /* Of the destination's bits there are eight. */
    u64 control = descriptor[4];
    descriptor[4] = control | 1ul << 32;
    expect_blocked(RESERVED_DESCRIPTOR);
    descriptor[4] = control | 1ul << 48;
    expect_blocked(RESERVED_DESCRIPTOR);
}

/* A write by DMA is an interrupt like any other. */
CASE(sent_by_dma) {
    setup(true);
    u64 message = (u64)pages(1);
    edu_copy_word(edu, message, vtd_message(INDEX));
    WAIT_FOR(interrupts[NOTIFICATION] == 1);
    CHECK_EQUAL(take(), POSTED);
    vtd_expect_no_fault();
}

/* Each bit that must be zero. */
CASE(reserved_bits) {
    setup(true);
    static const u8 of_entry[][2] = {{2, 7}, {12, 13}, {24, 37}, {84, 95}};
    for (unsigned i = 0; i < ARRAY_LENGTH(of_entry); i++)
        for (unsigned bit = of_entry[i][0]; bit <= of_entry[i][1]; bit++) {
            vtd.entries[INDEX][bit / 64] ^= 1ul << bit % 64;
            vtd_flush_entry(INDEX);
            send(INDEX);
            vtd_expect_fault(RESERVED_INTERRUPT_ENTRY, edu.bdf, (u64)INDEX << 48, false);
            vtd.entries[INDEX][bit / 64] ^= 1ul << bit % 64;
        }
    vtd_flush_entry(INDEX);
    for (unsigned bit = 2; bit < 32; bit++) {
        if (bit == 16)
            bit = 24;
        descriptor[4] = NOTIFY | 1ul << bit;
        send(INDEX);
        vtd_expect_fault(RESERVED_DESCRIPTOR, edu.bdf, (u64)INDEX << 48, false);
        CHECK_EQUAL(descriptor[4], NOTIFY | 1ul << bit);
    }
    expect_nothing(0);
    /* The entry may keep the fault to itself. */
    post(INDEX, POSTED, (u64)descriptor, 2);
    send(INDEX);
    vtd_expect_no_fault();
    expect_nothing(0);
    descriptor[4] = NOTIFY;
    send(INDEX);
    WAIT_FOR(interrupts[NOTIFICATION] == 1);
}

/* Descriptors where there is no memory: above it, in devices' registers, where interrupts go, at the very end. */
CASE(hostile_addresses) {
    setup(true);
    const u64 addresses[] = {
        1ul << 40, edu.base, vtd.base, 0xFEE00000, 0xFFFFFFC0, ~0x3Ful, 0x000FFFFFFFFFFFC0, 0xFEC00000,
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(addresses); i++) {
        post(INDEX, POSTED, addresses[i], 0);
        expect_blocked(BAD_DESCRIPTOR);
    }
    /* The table itself, and whatever else is memory, can be posted into: that is the guest's own harm. */
    post(INDEX, 0, (u64)(vtd.entries + 0x80), 0);
    send(INDEX);
    CHECK_EQUAL(vtd.entries[0x80][0], 1);
    vtd_expect_no_fault();
    post(INDEX, POSTED, (u64)descriptor, 0);
    send(INDEX);
    WAIT_FOR(interrupts[NOTIFICATION] == 1);
    CHECK_EQUAL(take(), POSTED);
}

/* Nothing is posted for a function that the entry does not name. */
CASE(wrong_source) {
    setup(true);
    vtd.entries[INDEX][1] ^= 8;
    vtd_flush_entry(INDEX);
    expect_blocked(WRONG_SOURCE);
    CHECK_EQUAL(descriptor[4], NOTIFY);
    /* A range of buses. */
    vtd.entries[INDEX][1] = 2ul << 18 | (u64)(edu.bdf >> 8) << 8 | edu.bdf >> 8 | (u64)descriptor >> 32 << 32;
    vtd_flush_entry(INDEX);
    send(INDEX);
    WAIT_FOR(interrupts[NOTIFICATION] == 1);
    CHECK_EQUAL(take(), POSTED);
    vtd.entries[INDEX][1] |= 3ul << 18;
    vtd_flush_entry(INDEX);
    expect_blocked(RESERVED_INTERRUPT_ENTRY);
}

/* An entry may change its format, both ways; its invalidation is all that is needed. */
CASE(format_changes) {
    setup(true);
    for (u32 turn = 1; turn <= 3; turn++) {
        post(INDEX, POSTED, (u64)descriptor, 0);
        send(INDEX);
        WAIT_FOR(interrupts[NOTIFICATION] == turn);
        CHECK_EQUAL(take(), POSTED);
        vtd_interrupt_entry(INDEX, REMAPPED, edu.bdf);
        vtd_flush_entry(INDEX);
        send(INDEX);
        WAIT_FOR(interrupts[REMAPPED] == turn);
        expect_nothing(turn);
    }
    vtd_expect_no_fault();
}

static volatile u32 taken;

static void take_all(u8 vector) {
    if (vector == NOTIFICATION) {
        __atomic_fetch_and(&descriptor[4], ~ON, __ATOMIC_SEQ_CST);
        for (unsigned word = 0; word < 4; word++)
            for (u64 bits = __atomic_exchange_n(&descriptor[word], 0, __ATOMIC_SEQ_CST); bits; bits &= bits - 1)
                taken++;
    }
}

/* A driver that looks only when it is notified misses nothing. */
CASE(nothing_is_lost) {
    setup(true);
    on_interrupt = take_all;
    for (u32 i = 0; i < 200; i++) {
        u32 before = taken;
        send(i % 2 ? INDEX : OTHER_INDEX);
        WAIT_FOR(taken == before + 1);
    }
    CHECK_EQUAL(interrupts[NOTIFICATION], 200);
    expect_nothing(200);
    vtd_expect_no_fault();
}

/* A unit that does not post takes posted format for what has no meaning. */
CASE(not_offered) {
    setup(true);
    CHECK((vtd.capabilities >> 59 & 1) == 0);
    expect_blocked(RESERVED_INTERRUPT_ENTRY);
    CHECK_EQUAL(descriptor[4], NOTIFY);
}
