/* SPDX-License-Identifier: MIT */
#include "guest/mmio.h"
#include "mm/host.h"

#define WIDEST 8u /* bytes that a device sees at once */

void mmio_add(struct mmio *m, gpa_t first, uint64_t bytes, mmio_handler handler, void *device)
{
	uint64_t last = first.v + bytes - 1;

	CHECK(m->ranges < MMIO_RANGES && last >= first.v);
	for (unsigned i = 0; i < m->ranges; i++)
		CHECK(last < m->range[i].first || first.v > m->range[i].last);
	m->range[m->ranges++] = (struct mmio_range){first.v, last, handler, device};
}

static const struct mmio_range *find(const struct mmio *m, uint64_t first, uint64_t last)
{
	for (unsigned i = 0; i < m->ranges; i++)
		if (first >= m->range[i].first && last <= m->range[i].last)
			return &m->range[i];
	return 0;
}

void mmio_access(struct mmio *m, struct vcpu *v, gpa_t a, unsigned bytes, bool write, void *data)
{
	bool unclaimed = false;

	for (unsigned n; bytes; bytes -= n, a.v += n, data = (char *)data + n) {
		const struct mmio_range *r;
		uint64_t value = 0;

		n = bytes < WIDEST ? bytes : WIDEST;
		r = find(m, a.v, a.v + n - 1);
		if (write)
			__builtin_memcpy(&value, data, n);
		if (r)
			r->handler(r->device, v, a.v - r->first, n, write, &value);
		else
			value = ~0UL;
		if (!write)
			__builtin_memcpy(data, &value, n);
		unclaimed |= !r;
	}
	if (unclaimed)
		fetch_add_relaxed(&m->unclaimed, 1);
}
