/* SPDX-License-Identifier: MIT */
#include "guest/fwcfg.h"

#define ITEM_BYTES 8
#define ID_TRADITIONAL 1u

void fwcfg_init(struct fwcfg *f, uint64_t mem, unsigned vcpus)
{
	*f = (struct fwcfg){.mem = mem, .vcpus = (uint16_t)vcpus};
}

static unsigned put(uint8_t *item, unsigned bytes, uint64_t v)
{
	for (unsigned i = 0; i < bytes; i++)
		item[i] = (uint8_t)(v >> (8 * i));
	return bytes;
}

/* The selected item; its length in bytes. An unknown key has none. */
static unsigned select_item(const struct fwcfg *f, uint8_t item[ITEM_BYTES])
{
	switch (f->key) {
	case FWCFG_SIGNATURE:
		__builtin_memcpy(item, "QEMU", 4);
		return 4;
	case FWCFG_ID:
		return put(item, 4, ID_TRADITIONAL);
	case FWCFG_RAM_SIZE:
		return put(item, 8, f->mem);
	case FWCFG_NB_CPUS:
	case FWCFG_MAX_CPUS:
		return put(item, 2, f->vcpus);
	case FWCFG_FILE_DIR:
		return put(item, 4, 0);
	default:
		return 0;
	}
}

/* The next byte of the item, 0 behind its end. */
static uint8_t next_byte(struct fwcfg *f)
{
	uint8_t item[ITEM_BYTES];
	unsigned bytes = select_item(f, item);

	return f->offset < bytes ? item[f->offset++] : 0;
}

enum bus_outcome fwcfg_io(void *fwcfg, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct fwcfg *f = fwcfg;

	if (write && port == FWCFG_SELECTOR_PORT && size == 2) {
		f->key = (uint16_t)*value;
		f->offset = 0;
	} else if (!write) {
		*value = port == FWCFG_DATA_PORT && size == 1 ? next_byte(f) : size == 2 ? 0xffff : 0xff;
	}
	return BUS_DONE;
}

void fwcfg_attach(struct fwcfg *f, struct bus *b)
{
	bus_add(b, FWCFG_SELECTOR_PORT, FWCFG_DATA_PORT, 2, fwcfg_io, f);
}
