/* SPDX-License-Identifier: MIT */
#include "hv/place.h"

unsigned place_walker(unsigned cpus)
{
	return cpus >= 3 ? cpus - 1 : 0;
}

unsigned place_vcpu(unsigned cpus, unsigned i)
{
	if (cpus >= 3)
		return 1 + i % (cpus - 2);
	return (i + 1) % cpus;
}
