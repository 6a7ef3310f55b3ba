/* Driving a virtio disk with one request at a time. */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "guest.h"

enum {
    VIRTIO_READ = 0,
    VIRTIO_WRITE = 1,
    VIRTIO_FLUSH = 4,
    VIRTIO_ID = 8,
};

enum { VIRTIO_FEATURES_OK = 8, VIRTIO_DRIVER_OK = 4, VIRTIO_NEEDS_RESET = 64 };

enum { VIRTIO_READ_ONLY = 1 << 5, VIRTIO_FLUSHES = 1 << 9 };
#define VIRTIO_VERSION_1 (1ul << 32)
#define VIRTIO_PLATFORM (1ul << 33)

/* What the device sees of the driver's memory: addresses on the bus. */
#define VIRTIO_RINGS 0x10000000ul
#define VIRTIO_HEADER 0x20000000ul
#define VIRTIO_DATA 0x30000000ul
#define VIRTIO_DATA_PAGES 2

extern struct virtio {
    bdf_t bdf;
    /* Where its structures are. */
    u64 common, isr, device, notify;
    /* The driver's memory as the processor sees it. */
    u8 *rings, *header, *data;
    u16 submitted;
} virtio;

/* Finds the disk and turns its memory and bus mastering on. */
void virtio_find(void);
/* Begins from a reset: agrees on features; gives the status. */
u8 virtio_negotiate(u64 features);
/* Sets the queue up and starts the device. */
void virtio_start(void);
u8 virtio_status(void);
/* Submits a request with `length` bytes of data and waits for nothing. */
void virtio_submit(u32 type, u64 sector, u32 length);
/* Submits a request, waits for it and gives its status byte. */
u8 virtio_request(u32 type, u64 sector, u32 length);
/* How many requests have come back. */
u16 virtio_used(void);

#endif
