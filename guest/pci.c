/* SPDX-License-Identifier: MIT */
#include "guest/pci.h"
#include "guest/power.h"

#define ENABLE (1u << 31)
#define DEVICE 0x00ffff00u /* bus, device, function */
#define ADDRESS_WRITABLE 0x80fffffcu
#define REGISTER 0xfcu

/* The first 16 bytes of the bridge's header; the rest is zeros. */
static const uint32_t bridge[] = {
	0x12378086, /* device, vendor */
	0x00000000, /* status, command */
	0x06000002, /* class: host bridge; revision */
	0x00000000, /* header type 0, one function */
};

uint32_t pci_config_read(const struct pci *p, uint16_t port, unsigned size)
{
	unsigned index = (p->address & REGISTER) / sizeof *bridge, shift = (port - PCI_DATA) * 8u;
	uint32_t value = index < sizeof bridge / sizeof *bridge ? bridge[index] : 0;

	if (!(p->address & ENABLE) || p->address & DEVICE)
		value = ~0u; /* nobody answers */
	return size == 4 ? value : value >> shift & ((1u << size * 8) - 1);
}

static enum bus_outcome address_io(void *pci, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct pci *p = pci;

	if (port == POWER_RESET && size == 1)
		power_reset_io(p->power, write, value);
	else if (size != 4)
		*value = ~0u >> (32 - 8 * size); /* it is taken whole */
	else if (write)
		p->address = *value & ADDRESS_WRITABLE;
	else
		*value = p->address;
	return BUS_DONE;
}

static enum bus_outcome data_io(void *pci, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	if (!write)
		*value = pci_config_read(pci, port, size);
	return BUS_DONE;
}

void pci_attach(struct pci *p, struct power *power, struct bus *b)
{
	*p = (struct pci){.power = power};
	bus_add(b, PCI_ADDRESS, PCI_ADDRESS + 3, 4, address_io, p);
	bus_add(b, PCI_DATA, PCI_DATA + 3, 4, data_io, p);
}
