/* SPDX-License-Identifier: MIT */
/* QEMU's firmware configuration device (QEMU docs/specs/fw_cfg.rst): a selector and a byte-wise data port; read-only,
 * no DMA. */
#ifndef GUEST_FWCFG_H
#define GUEST_FWCFG_H

#include "guest/bus.h"

#define FWCFG_SELECTOR_PORT 0x510 /* 16 bits, written */
#define FWCFG_DATA_PORT 0x511     /* 8 bits, read */

enum fwcfg_key {
	FWCFG_SIGNATURE = 0x00, /* "QEMU" */
	FWCFG_ID = 0x01,        /* u32: bit 0 this interface, bit 1 DMA */
	FWCFG_RAM_SIZE = 0x03,  /* u64, bytes */
	FWCFG_NB_CPUS = 0x05,   /* u16 */
	FWCFG_MAX_CPUS = 0x0f,  /* u16 */
	FWCFG_FILE_DIR = 0x19,  /* u32, big-endian: number of named files, 0 */
};

struct fwcfg {
	uint64_t mem; /* bytes */
	uint16_t vcpus;
	uint16_t key;
	uint32_t offset; /* next byte of the item; stops at its end */
};

/* mem: the guest's RAM, bytes. vcpus: their number. */
void fwcfg_init(struct fwcfg *f, uint64_t mem, unsigned vcpus);
void fwcfg_attach(struct fwcfg *f, struct bus *b);
/* A port access, as bus_handler. */
enum bus_outcome fwcfg_io(void *fwcfg, uint16_t port, unsigned size, bool write, uint32_t *value);

#endif
