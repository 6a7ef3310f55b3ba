/* Page requests: a device asks for pages, software finds the requests in a queue and answers. */
#include "runtime/probe.h"
#include "runtime/scalable.h"

#define DOMAIN 8
#define IOVA 0x4000000ul
#define PASID 5
#define VECTOR 0x65
#define QUEUE_REQUESTS 128

enum {
    VTD_PQH = 0xC0,
    VTD_PQT = 0xC8,
    VTD_PQA = 0xD0,
    VTD_PRS = 0xDC,
    VTD_PECTL = 0xE0,
    VTD_PEDATA = 0xE4,
    VTD_PEADDR = 0xE8,
    VTD_PEUADDR = 0xEC,
};
enum { VTD_PPR = 1, VTD_PRO = 2 };
enum { SUCCESS = 0, INVALID = 1, FAILURE = 15 };

static struct probe probe;
static u64 *table, (*queue)[4];

/* A probe that may ask for pages in the address space of PASID, whose table is empty. */
static void setup(u64 context) {
    probe = probe_find();
    probe_enable_pasids(probe);
    probe_enable_pages(probe, 32);
    probe_enable_translations(probe);
    apic_start();
    scalable_start(probe.bdf, context);
    CHECK(vtd.extended >> 29 & 1);
    table = vtd_table();
    scalable_first_stage(probe.bdf, PASID, DOMAIN, table, 0);
    queue = pages(1);
    write64(vtd.base + VTD_PQH, 0);
    write64(vtd.base + VTD_PQT, 0);
    write64(vtd.base + VTD_PQA, (u64)queue);
    write32(vtd.base + VTD_PEDATA, VECTOR);
    write32(vtd.base + VTD_PEADDR, MSI_ADDRESS);
    write32(vtd.base + VTD_PEUADDR, 0);
    write32(vtd.base + VTD_PECTL, 0);
    scalable_translate();
    probe = probe_as(probe, PROBE_PASID, PASID);
}

#define ALL (SCALABLE_DEVICE_TLB | SCALABLE_PASIDS | SCALABLE_PAGES)

/* The oldest request, once there is one; the next call gives the next. */
static const volatile u64 *request(void) {
    u64 head = read64(vtd.base + VTD_PQH);
    WAIT_FOR(read64(vtd.base + VTD_PQT) != head);
    write64(vtd.base + VTD_PQH, (head + 32) % PAGE_SIZE);
    return queue[head / 32];
}

static u16 group_of(const volatile u64 *found) { return found[1] >> 3 & 0x1FF; }

/* Checks a request, and gives its group. */
static u16 expect(const volatile u64 *found, u64 address, bool write, bool last) {
    CHECK_EQUAL(found[0] & 0xFF, 1);
    CHECK_EQUAL(found[0] >> 8 & 1, 1);
    CHECK_EQUAL(found[0] >> 16 & 0xFFFF, probe.bdf);
    CHECK_EQUAL(found[0] >> 32 & 0xFFFFF, PASID);
    CHECK_EQUAL(found[0] >> 52, 0);
    CHECK_EQUAL(found[1] & 1, !write);
    CHECK_EQUAL(found[1] >> 1 & 1, write);
    CHECK_EQUAL(found[1] >> 2 & 1, last);
    CHECK_EQUAL(found[1] & ~0xFFFul, address);
    return group_of(found);
}

static struct probe_command store(u64 address) {
    return (struct probe_command){.operation = PROBE_WRITE, .address = address, .length = 8, .operand = 0x4711,
                                  .flags = PROBE_IMMEDIATE | PROBE_CACHED | PROBE_PAGES};
}

/* A write to a page that is not there, which software makes present. */
CASE(a_page_comes) {
    setup(ALL);
    u64 *page = pages(1);
    probe_start(probe, store(IOVA + 8));
    WAIT_FOR(interrupts[VECTOR] == 1);
    CHECK_EQUAL(read32(vtd.base + VTD_PRS), VTD_PPR);
    write32(vtd.base + VTD_PRS, VTD_PPR);
    u16 group = expect(request(), IOVA, true, true);
    CHECK(read32(probe.base + PROBE_STATUS) & 1);
    first_stage_map(table, IOVA, (u64)page, 1, FS_RW);
    scalable_respond(probe.bdf, PASID, group, SUCCESS);
    CHECK_EQUAL(probe_end(probe).status, PROBE_DONE);
    CHECK_EQUAL(page[1], 0x4711);
    CHECK_EQUAL(*first_stage_entry(table, IOVA, 1) & FS_DIRTY, FS_DIRTY);
    /* The next one needs no more asking. */
    CHECK_EQUAL(probe_run(probe, store(IOVA + 16)).status, PROBE_DONE);
    CHECK_EQUAL(page[2], 0x4711);
    CHECK_EQUAL(read32(probe.base + PROBE_PAGE_REQUESTS), 1);
    CHECK_EQUAL(read32(probe.base + PROBE_RESPONSE), 1u << 31 | group);
    vtd_expect_no_fault();
}

/* A request over several pages asks for each, and gets each. */
CASE(many_pages) {
    setup(ALL);
    u8 *memory = pages(5);
    struct probe_command write = store(IOVA + 0x800);
    write.length = 0x4000;
    probe_start(probe, write);
    for (u64 i = 0; i < 5; i++) {
        u16 group = expect(request(), IOVA + i * PAGE_SIZE, true, true);
        /* In memory they lie the other way round. */
        first_stage_map(table, IOVA + i * PAGE_SIZE, (u64)memory + (4 - i) * PAGE_SIZE, 1, FS_RW);
        scalable_respond(probe.bdf, PASID, group, SUCCESS);
    }
    CHECK_EQUAL(probe_end(probe).status, PROBE_DONE);
    CHECK_EQUAL(*(u64 *)(memory + 4 * PAGE_SIZE + 0x800), 0x4711);
    CHECK_EQUAL(*(u64 *)(memory + 4 * PAGE_SIZE), 0);
    CHECK_EQUAL(*(u64 *)(memory + 0x7F8), 0x4711);
    CHECK_EQUAL(*(u64 *)(memory + 0x800), 0);
    vtd_expect_no_fault();
}

/* Software's two ways to say no. */
CASE(refused) {
    setup(ALL);
    probe_start(probe, store(IOVA));
    scalable_respond(probe.bdf, PASID, group_of(request()), INVALID);
    CHECK_EQUAL(probe_end(probe).status, PROBE_PAGE_REFUSED);
    probe_start(probe, store(IOVA));
    scalable_respond(probe.bdf, PASID, group_of(request()), FAILURE);
    CHECK_EQUAL(probe_end(probe).status, PROBE_PAGE_FAILED);
    /* The capability shows the failure. */
    u16 capability = pci_extended_capability(probe.bdf, PCI_PAGE_REQUESTS);
    CHECK_EQUAL(pci_read16(probe.bdf, capability + 6) & 3, 1);
    vtd_expect_no_fault();
}

/* No answer: the device gives up. */
CASE(no_answer) {
    setup(ALL);
    write32(probe.base + PROBE_PATIENCE, 50);
    CHECK_EQUAL(probe_run(probe, store(IOVA)).status, PROBE_NO_ANSWER);
    /* The answer comes late, which makes it no less an answer. */
    scalable_respond(probe.bdf, PASID, group_of(request()), SUCCESS);
    CHECK_EQUAL(read32(probe.base + PROBE_RESPONSES), 1);
}

static struct probe_command ask(u64 address, u32 group, u32 flags) {
    return (struct probe_command){
        .operation = PROBE_PAGE_REQUEST, .address = address, .selector = group, .flags = flags};
}

/* A group of three requests has one answer, and one that nobody asked for is unexpected. */
CASE(groups) {
    setup(ALL);
    for (u64 i = 0; i < 3; i++) {
        u32 last = i == 2 ? PROBE_PAGE_LAST : 0;
        struct probe_command command = ask(IOVA + i * PAGE_SIZE, 300, PROBE_PAGE_READ | last);
        CHECK_EQUAL(probe_run(probe, command).status, PROBE_DONE);
    }
    for (u64 i = 0; i < 3; i++)
        CHECK_EQUAL(expect(request(), IOVA + i * PAGE_SIZE, false, i == 2), 300);
    CHECK_EQUAL(read32(probe.base + PROBE_RESPONSES), 0);
    scalable_respond(probe.bdf, PASID, 300, SUCCESS);
    CHECK_EQUAL(read32(probe.base + PROBE_RESPONSES), 1);
    CHECK_EQUAL(read32(probe.base + PROBE_RESPONSE), 1u << 31 | 300);
    CHECK_EQUAL(read32(probe.base + PROBE_RESPONSE_PASID), 1u << 31 | PASID);
    write32(probe.base + PROBE_POP, 1);
    CHECK_EQUAL(read32(probe.base + PROBE_RESPONSE), 0);
    u16 capability = pci_extended_capability(probe.bdf, PCI_PAGE_REQUESTS);
    CHECK_EQUAL(pci_read16(probe.bdf, capability + 6) & 3, 0);
    scalable_respond(probe.bdf, PASID, 301, SUCCESS);
    CHECK_EQUAL(pci_read16(probe.bdf, capability + 6) & 3, 2);
    /* No more than software allows. */
    probe_enable_pages(probe, 2);
    CHECK_EQUAL(probe_run(probe, ask(IOVA, 1, PROBE_PAGE_READ)).status, PROBE_DONE);
    CHECK_EQUAL(probe_run(probe, ask(IOVA, 1, PROBE_PAGE_READ)).status, PROBE_DONE);
    CHECK_EQUAL(probe_run(probe, ask(IOVA, 2, PROBE_PAGE_READ)).status, PROBE_TOO_MANY_PAGES);
    vtd_expect_no_fault();
}

/* A full queue: requests are dropped, and the last of each group is answered by the unit itself. */
CASE(overflow) {
    setup(ALL);
    probe_enable_pages(probe, 64);
    /* The head stands still; one place less than there are can be filled. */
    for (u32 i = 0; i < QUEUE_REQUESTS - 1; i++) {
        CHECK_EQUAL(probe_run(probe, ask(IOVA, i, PROBE_PAGE_READ | PROBE_PAGE_LAST)).status, PROBE_DONE);
        scalable_respond(probe.bdf, PASID, (u16)i, SUCCESS);
        write32(probe.base + PROBE_POP, 1);
    }
    CHECK_EQUAL(read32(vtd.base + VTD_PRS) & VTD_PRO, 0);
    u64 tail = read64(vtd.base + VTD_PQT);
    struct probe_command last = ask(IOVA, 400, PROBE_PAGE_READ | PROBE_PAGE_LAST | PROBE_PAGE_WAIT);
    struct probe_answer answer = probe_run(probe, last);
    CHECK_EQUAL(answer.status, PROBE_DONE);
    CHECK_EQUAL(answer.value, SUCCESS);
    CHECK_EQUAL(read32(vtd.base + VTD_PRS) & VTD_PRO, VTD_PRO);
    CHECK_EQUAL(read64(vtd.base + VTD_PQT), tail);
    /* Emptied, the queue takes requests again. */
    write64(vtd.base + VTD_PQH, tail);
    write32(vtd.base + VTD_PRS, VTD_PRO | VTD_PPR);
    CHECK_EQUAL(probe_run(probe, ask(IOVA, 401, PROBE_PAGE_READ | PROBE_PAGE_LAST)).status, PROBE_DONE);
    CHECK_EQUAL(group_of(request()), 401);
}

/* Without PRE a device may not ask: a fault, and an answer of failure from the unit. */
CASE(not_allowed) {
    setup(SCALABLE_DEVICE_TLB | SCALABLE_PASIDS);
    CHECK_EQUAL(probe_run(probe, store(IOVA)).status, PROBE_PAGE_FAILED);
    struct fault fault;
    CHECK(vtd_fault(&fault));
    CHECK_EQUAL(fault.reason, PAGES_NOT_ALLOWED);
    CHECK_EQUAL(fault.address, IOVA);
    vtd_expect_no_fault();
    CHECK_EQUAL(read64(vtd.base + VTD_PQT), 0);
}

/* A wait that drains page requests completes behind those that came before. */
CASE(drain) {
    setup(ALL);
    CHECK(vtd.extended >> 42 & 1);
    for (u32 i = 0; i < 10; i++)
        CHECK_EQUAL(probe_run(probe, ask(IOVA, i, PROBE_PAGE_READ | PROBE_PAGE_LAST)).status, PROBE_DONE);
    static volatile u32 status;
    vtd_submit(5 | 1 << 5 | 1 << 7 | 1ul << 32, (u64)&status);
    vtd_kick();
    WAIT_FOR(status == 1);
    CHECK_EQUAL(read64(vtd.base + VTD_PQT), 10 * 32);
    vtd_expect_no_fault();
}

/* A stop marker, which asks for nothing, comes behind what it ends, and wants no answer. */
CASE(stop_marker) {
    setup(ALL);
    CHECK(vtd.extended >> 58 & 1);
    CHECK_EQUAL(probe_run(probe, ask(IOVA, 1, PROBE_PAGE_READ | PROBE_PAGE_LAST)).status, PROBE_DONE);
    CHECK_EQUAL(probe_run(probe, ask(0, 0, PROBE_PAGE_LAST)).status, PROBE_DONE);
    CHECK_EQUAL(expect(request(), IOVA, false, true), 1);
    const volatile u64 *marker = request();
    CHECK_EQUAL(marker[0] >> 32 & 0xFFFFF, PASID);
    CHECK_EQUAL(marker[1] & 7, 4);
    CHECK_EQUAL(read32(probe.base + PROBE_RESPONSES), 0);
    /* It counts for nothing: as many requests as before may be unanswered. */
    probe_enable_pages(probe, 2);
    CHECK_EQUAL(probe_run(probe, ask(IOVA, 2, PROBE_PAGE_READ)).status, PROBE_DONE);
    CHECK_EQUAL(probe_run(probe, ask(IOVA, 3, PROBE_PAGE_READ)).status, PROBE_TOO_MANY_PAGES);
    vtd_expect_no_fault();
}
