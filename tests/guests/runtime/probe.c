#include "probe.h"

struct probe probe_find(void) {
    bdf_t bdf = pci_find(0x50B01234, 0);
    CHECK(bdf != 0xFFFF);
    pci_enable(bdf, PCI_MEMORY | PCI_MASTER);
    struct probe probe = {.bdf = bdf, .base = pci_bar(bdf, 0)};
    CHECK_EQUAL(read32(probe.base + PROBE_ID), 0x424F5250);
    return probe;
}

void probe_enable_pasids(struct probe probe) {
    u16 capability = pci_extended_capability(probe.bdf, PCI_PASID);
    CHECK(capability != 0);
    pci_write16(probe.bdf, capability + 6, 7);
}

void probe_enable_translations(struct probe probe) {
    u16 capability = pci_extended_capability(probe.bdf, PCI_ATS);
    CHECK(capability != 0);
    pci_write16(probe.bdf, capability + 6, 1 << 15);
}

void probe_enable_pages(struct probe probe, u32 allocation) {
    u16 capability = pci_extended_capability(probe.bdf, PCI_PAGE_REQUESTS);
    CHECK(capability != 0);
    pci_write32(probe.bdf, capability + 12, allocation);
    pci_write16(probe.bdf, capability + 4, 1);
}

static void wait(struct probe probe) { WAIT_FOR(!(read32(probe.base + PROBE_STATUS) & 1)); }

void probe_start(struct probe probe, struct probe_command command) {
    command.flags |= probe.flags;
    command.pasid = probe.pasid;
    const u32 *words = (const u32 *)&command;
    for (unsigned i = 0; i < sizeof command / 4; i++)
        write32(probe.base + PROBE_BLOCK + 4 * i, words[i]);
    write32(probe.base + PROBE_DOORBELL, 1);
}

struct probe_answer probe_end(struct probe probe) {
    wait(probe);
    struct probe_answer answer;
    u32 *found = (u32 *)&answer;
    for (unsigned i = 0; i < sizeof answer / 4; i++)
        found[i] = read32(probe.base + PROBE_BLOCK + sizeof(struct probe_command) + 4 * i);
    return answer;
}

struct probe_answer probe_run(struct probe probe, struct probe_command command) {
    probe_start(probe, command);
    return probe_end(probe);
}

void probe_script(struct probe probe, struct probe_block *blocks, u32 count) {
    write64(probe.base + PROBE_SCRIPT, (u64)blocks);
    write32(probe.base + PROBE_SCRIPT_COUNT, count);
    write32(probe.base + PROBE_DOORBELL, 2);
    wait(probe);
}

/* A command on one word. */
static struct probe_answer word(struct probe probe, u32 operation, u64 address, u64 operand) {
    return probe_run(probe, (struct probe_command){
                                .operation = operation,
                                .flags = PROBE_IMMEDIATE,
                                .address = address,
                                .length = 8,
                                .operand = operand,
                            });
}

static u64 successful(struct probe_answer answer) {
    if (answer.status != PROBE_DONE)
        print("  the request was refused: reason %x\n", answer.reason);
    CHECK_EQUAL(answer.status, PROBE_DONE);
    return answer.value;
}

u64 probe_load(struct probe probe, u64 address) { return successful(word(probe, PROBE_READ, address, 0)); }

void probe_store(struct probe probe, u64 address, u64 value) {
    successful(word(probe, PROBE_WRITE, address, value));
}

u64 probe_add(struct probe probe, u64 address, u64 value) {
    return successful(word(probe, PROBE_FETCH_ADD, address, value));
}

void probe_blocked(struct probe probe, u32 operation, u64 address, u32 reason) {
    struct probe_answer answer = word(probe, operation, address, 0xBAD);
    CHECK_EQUAL(answer.status, PROBE_BLOCKED);
    CHECK_EQUAL(answer.reason, reason);
}
