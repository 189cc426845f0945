/* SPDX-License-Identifier: MIT */
/* A PCI bus with nothing on it but its host bridge, by configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2), so that
 * kernels that look for one find it empty, and not missing. The bridge has the identity of the 440FX's (Intel 82441FX data sheet,
 * order number 290549) and no registers of its own. */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include "guest/bus.h"

struct power;

#define PCI_ADDRESS 0xcf8 /* 32 bits whole. Within it lies the reset control register, a byte at POWER_RESET */
#define PCI_DATA 0xcfc

struct pci {
	struct power *power;
	uint32_t address; /* as written */
};

void pci_attach(struct pci *p, struct power *power, struct bus *b);
/* `size` bytes of the configuration space that the address register selects, at port PCI_DATA … PCI_DATA + 3. */
uint32_t pci_config_read(const struct pci *p, uint16_t port, unsigned size);

#endif
