/* Driving edu devices: a DMA engine and an interrupt under the guest's control. */
#ifndef EDU_H
#define EDU_H

#include "guest.h"

enum {
    EDU_ID = 0x00,
    EDU_LIVENESS = 0x04,
    EDU_FACTORIAL = 0x08,
    EDU_STATUS = 0x20,
    EDU_CAUSES = 0x24,
    EDU_RAISE = 0x60,
    EDU_ACKNOWLEDGE = 0x64,
    EDU_SOURCE = 0x80,
    EDU_DESTINATION = 0x88,
    EDU_COUNT = 0x90,
    EDU_COMMAND = 0x98,
    EDU_BUFFER = 0x40000,
    EDU_DMA_CAUSE = 0x100,
};

struct edu {
    bdf_t bdf;
    u64 base;
};

/* The `index`-th edu of the machine, its memory and bus mastering on. */
struct edu edu_find(unsigned index);
/* Reads `count` bytes at `address` into the buffer, `offset` bytes in. */
void edu_read(struct edu edu, u64 address, u64 offset, u64 count);
/* Writes `count` bytes of the buffer, `offset` bytes in, to `address`. */
void edu_write(struct edu edu, u64 address, u64 offset, u64 count);
/* Sends one word through the buffer: reads it at `from` and writes it to `to`. */
void edu_copy_word(struct edu edu, u64 from, u64 to);
/* Raises a cause of interrupt. */
void edu_raise(struct edu edu, u32 causes);
void edu_acknowledge(struct edu edu, u32 causes);

#endif
