#include "edu.h"

struct edu edu_find(unsigned index) {
    bdf_t bdf = 0;
    for (;; index--) {
        bdf = pci_find(0x11E81234, bdf);
        CHECK(bdf != 0xFFFF);
        if (index == 0)
            break;
        bdf++;
    }
    pci_enable(bdf, PCI_MEMORY | PCI_MASTER);
    struct edu edu = {bdf, pci_bar(bdf, 0)};
    CHECK_EQUAL(read32(edu.base + EDU_ID), 0x010000ED);
    return edu;
}

static void transfer(struct edu edu, u64 source, u64 destination, u64 count, u64 command) {
    write64(edu.base + EDU_SOURCE, source);
    write64(edu.base + EDU_DESTINATION, destination);
    write64(edu.base + EDU_COUNT, count);
    write64(edu.base + EDU_COMMAND, command | 1);
    WAIT_FOR(!(read32(edu.base + EDU_COMMAND) & 1));
}

void edu_read(struct edu edu, u64 address, u64 offset, u64 count) {
    transfer(edu, address, EDU_BUFFER + offset, count, 0);
}

void edu_write(struct edu edu, u64 address, u64 offset, u64 count) {
    transfer(edu, EDU_BUFFER + offset, address, count, 2);
}

void edu_copy_word(struct edu edu, u64 from, u64 to) {
    edu_read(edu, from, 0, 4);
    edu_write(edu, to, 0, 4);
}

void edu_raise(struct edu edu, u32 causes) { write32(edu.base + EDU_RAISE, causes); }

void edu_acknowledge(struct edu edu, u32 causes) { write32(edu.base + EDU_ACKNOWLEDGE, causes); }
