/* SPDX-License-Identifier: MIT */
#include "guest/msr_unknown.h"
#include "guest/text.h"

/* Those that kernels try (SDM vol. 4, chapter 2; AMD's processor programming references). */
static const struct {
	uint32_t index;
	const char *name;
} names[] = {
	{0x0, "P5_MC_ADDR"}, {0x1, "P5_MC_TYPE"}, {0x17, "PLATFORM_ID"}, {0x34, "SMI_COUNT"}, {0x3a, "FEATURE_CONTROL"},
	{0x3b, "TSC_ADJUST"}, {0x48, "SPEC_CTRL"}, {0x49, "PRED_CMD"}, {0x79, "BIOS_UPDT_TRIG"}, {0xc1, "PMC0"},
	{0xce, "PLATFORM_INFO"}, {0xcf, "CORE_CAPABILITIES"}, {0xe7, "MPERF"}, {0xe8, "APERF"}, {0x10a, "ARCH_CAPABILITIES"},
	{0x140, "MISC_FEATURES_ENABLES"}, {0x186, "PERFEVTSEL0"}, {0x198, "PERF_STATUS"}, {0x199, "PERF_CTL"},
	{0x19c, "THERM_STATUS"}, {0x1a2, "TEMPERATURE_TARGET"}, {0x1b0, "ENERGY_PERF_BIAS"}, {0x1d9, "DEBUGCTL"},
	{0x345, "PERF_CAPABILITIES"}, {0x606, "RAPL_POWER_UNIT"}, {0x611, "PKG_ENERGY_STATUS"},
	{0xc0010010, "SYSCFG"}, {0xc0010015, "HWCR"}, {0xc001001f, "NB_CFG"}, {0xc0010055, "INT_PENDING"},
	{0xc0010058, "FAM10H_MMIO_CONF"}, {0xc0010117, "VM_HSAVE_PA"}, {0xc0010140, "OSVW_ID_LENGTH"}, {0xc0011020, "LS_CFG"},
	{0xc0011021, "IC_CFG"}, {0xc0011022, "DC_CFG"}, {0xc0011023, "BU_CFG"}, {0xc0011029, "DE_CFG"}, {0xc001102a, "BU_CFG2"},
};

static struct msr_count *find(struct msr_unknown *u, uint32_t index)
{
	for (unsigned i = 0; i < u->n; i++)
		if (u->msr[i].index == index)
			return &u->msr[i];
	if (u->n == MSR_UNKNOWN_MAX)
		return 0;
	u->msr[u->n] = (struct msr_count){.index = index};
	return &u->msr[u->n++];
}

void msr_unknown_count(struct msr_unknown *u, uint32_t index, bool write)
{
	struct msr_count *c = find(u, index);

	if (!c)
		u->others++;
	else if (write)
		c->writes++;
	else
		c->reads++;
}

void msr_unknown_add(struct msr_unknown *to, const struct msr_unknown *from)
{
	to->others += from->others;
	for (unsigned i = 0; i < from->n; i++) {
		struct msr_count *c = find(to, from->msr[i].index);

		if (c) {
			c->reads += from->msr[i].reads;
			c->writes += from->msr[i].writes;
		} else {
			to->others += from->msr[i].reads + from->msr[i].writes;
		}
	}
}

static const char *name(uint32_t index)
{
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].index == index)
			return names[i].name;
	return "";
}

void msr_unknown_print(const struct msr_unknown *u, char *to, size_t room)
{
	size_t n = 0;

	to[0] = 0;
	for (unsigned i = 0; i < u->n; i++) {
		const struct msr_count *c = &u->msr[i];
		const char *known = name(c->index);

		n += text_format(to + n, room - n, "%s0x%x%s%s", n ? ", " : "", c->index, *known ? " " : "", known);
		if (c->reads)
			n += text_format(to + n, room - n, " %lu read%s", c->reads, c->reads > 1 ? "s" : "");
		if (c->writes)
			n += text_format(to + n, room - n, " %lu write%s", c->writes, c->writes > 1 ? "s" : "");
	}
	if (u->others)
		text_format(to + n, room - n, ", %lu accesses to others", u->others);
}
