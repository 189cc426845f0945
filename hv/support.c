/* SPDX-License-Identifier: MIT */
#include "guest/text.h"
#include "hv/support.h"
#include "hv/x86.h"

#define LINE_TEXT 128
/* A screen in text mode is 80 wide, and every line begins with "umbra: ". */
#define LINE_WIDTH 72

#define LEAF_FEATURES 1u
#define LEAF_MORE_FEATURES 7u
#define LEAF_EXTENDED 0x80000000u
#define LEAF_EXTENDED_FEATURES 0x80000001u
#define LEAF_NAME 0x80000002u
#define LEAF_SVM 0x8000000au
#define NAME_LEAVES 3
#define HYPERVISOR_PRESENT (1u << 31)

/* SDM 3D, A; AMD APM volume 2, 15.30. */
#define MSR_VMX_FIRST 0x480
#define MSR_VMX_LAST 0x491
#define MSR_SVM_VM_CR 0xc0010114

struct writer {
	void (*line)(const char *text);
	char text[LINE_TEXT];
	unsigned at;
};

static const struct bootinfo *bootinfo;

void support_init(const struct bootinfo *info)
{
	bootinfo = info;
}

static void finish(struct writer *w)
{
	if (w->at)
		w->line(w->text);
	w->at = 0;
}

/* Adds a piece to the line, or begins another with `title`. */
static void add(struct writer *w, const char *title, const char *piece)
{
	if (w->at && w->at + text_length(piece) + 1 > LINE_WIDTH)
		finish(w);
	if (!w->at)
		w->at = text_format(w->text, sizeof(w->text), "support: %s", title);
	w->at += text_format(w->text + w->at, sizeof(w->text) - w->at, " %s", piece);
}

static void add_leaf(struct writer *w, uint32_t leaf)
{
	char piece[LINE_TEXT];
	struct cpuid c = cpuid(leaf, 0);
	text_format(piece, sizeof(piece), "%x:%x,%x,%x,%x", leaf, c.eax, c.ebx, c.ecx, c.edx);
	add(w, "cpuid", piece);
}

static void print_name(struct writer *w)
{
	union {
		uint32_t word[NAME_LEAVES][4];
		char text[NAME_LEAVES * 16 + 1];
	} name = {{{0}}};
	for (unsigned i = 0; i < NAME_LEAVES && cpuid(LEAF_EXTENDED, 0).eax >= LEAF_NAME + i; i++) {
		struct cpuid c = cpuid(LEAF_NAME + i, 0);
		name.word[i][0] = c.eax;
		name.word[i][1] = c.ebx;
		name.word[i][2] = c.ecx;
		name.word[i][3] = c.edx;
	}
	add(w, cpuid(LEAF_FEATURES, 0).ecx & HYPERVISOR_PRESENT ? "virtual processor" : "processor", name.text);
	finish(w);
}

static void print_registers(struct writer *w)
{
	for (uint32_t msr = MSR_VMX_FIRST; msr <= MSR_VMX_LAST; msr++) {
		char piece[LINE_TEXT];
		uint64_t v;
		if (!rdmsr_safe(msr, &v))
			continue;
		text_format(piece, sizeof(piece), "%x:%lx", msr, v);
		add(w, "vmx", piece);
	}
	finish(w);
}

static void print_register(struct writer *w, const char *title, uint32_t msr)
{
	char piece[LINE_TEXT];
	uint64_t v;
	if (!rdmsr_safe(msr, &v))
		return;
	text_format(piece, sizeof(piece), "%lx", v);
	add(w, title, piece);
	finish(w);
}

static void print_map(struct writer *w)
{
	for (unsigned i = 0; bootinfo && i < bootinfo->maps; i++) {
		char piece[LINE_TEXT];
		const struct bootinfo_map *m = &bootinfo->map[i];
		text_format(piece, sizeof(piece), "%lx-%lx:%u", m->range.start, m->range.end, m->type);
		add(w, "memory", piece);
	}
	finish(w);
}

void support_print(void (*line)(const char *text))
{
	struct writer w = {.line = line};
	uint32_t last = cpuid(LEAF_EXTENDED, 0).eax;
	struct cpuid features = cpuid(LEAF_FEATURES, 0);
	print_name(&w);
	add_leaf(&w, 0);
	add_leaf(&w, LEAF_FEATURES);
	if (cpuid(0, 0).eax >= LEAF_MORE_FEATURES)
		add_leaf(&w, LEAF_MORE_FEATURES);
	if (last >= LEAF_EXTENDED_FEATURES)
		add_leaf(&w, LEAF_EXTENDED_FEATURES);
	if (last >= LEAF_SVM)
		add_leaf(&w, LEAF_SVM);
	finish(&w);
	if (features.ecx & CPUID_1_ECX_VMX) {
		print_register(&w, "feature control", MSR_FEATURE_CONTROL);
		print_registers(&w);
	}
	if (last >= LEAF_SVM)
		print_register(&w, "vm_cr", MSR_SVM_VM_CR);
	print_map(&w);
}
