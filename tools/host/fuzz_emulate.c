/* SPDX-License-Identifier: MIT */
/* AFL++'s target (make fuzz): decodes and carries out any bytes in any state, and aborts where a promise of guest/insn.h or
 * guest/emulate.h does not hold. Zydis must know what is decoded, with the same length.
 *
 * Input: mode, 15 bytes of the instruction, the state; what is left says how memory answers. */
#include <Zydis/Zydis.h>

#include "guest/alu.h"
#include "guest/emulate.h"
#include "tools/host/fuzz.h"

#define RIP_AT 0x7ffffff0UL
#define CALLS_MAX (3 * EMULATE_REP_STEP)

struct input {
	uint8_t mode, bytes[INSN_BYTES_MAX];
	uint64_t gpr[GPRS], flags;
	struct {
		uint32_t base, limit;
		uint8_t attr;
	} seg[6];
} __attribute__((packed));

static const uint8_t *answers;
static size_t answers_left;
static unsigned calls, stores;
static bool is_64bit;

/* guest/vcpu.c sets vCPUs up for Linux, too; none here is. */
enum mmu_outcome mmu_set_paging(struct mmu_vcpu *v, const struct mmu_paging *p, struct mmu_fault *f)
{
	(void)v, (void)p, (void)f;
	promise(false, "the emulator leaves paging alone");
	return MMU_END;
}

static enum emulate_outcome answer(uint64_t a, unsigned bytes, struct emulate_fault *f)
{
	uint8_t x = answers_left ? (answers_left--, *answers++) : 0;

	promise(bytes && bytes <= EMULATE_BYTES_MAX && !(bytes & (bytes - 1)), "operands of 1 to 16 bytes");
	promise(is_64bit ? vcpu_canonical(a) : a >> 32 == 0, "linear addresses");
	promise(++calls <= CALLS_MAX, "bounded work");
	if (x < 200)
		return EMULATE_DONE;
	*f = (struct emulate_fault){VECTOR_PF, x & PF_W, a};
	return x < 230 ? EMULATE_FAULT : x < 250 ? EMULATE_AGAIN : EMULATE_END;
}

static enum emulate_outcome do_read(void *context, uint64_t a, void *to, unsigned bytes, bool write, struct emulate_fault *f)
{
	(void)context, (void)write;
	for (unsigned i = 0; i < bytes; i++)
		((uint8_t *)to)[i] = (uint8_t)((a + i) * 157 >> 3);
	return answer(a, bytes, f);
}

static enum emulate_outcome do_write(void *context, uint64_t a, const void *from, unsigned bytes, struct emulate_fault *f)
{
	uint8_t kept[EMULATE_BYTES_MAX];
	enum emulate_outcome o = answer(a, bytes, f);

	(void)context;
	memcpy(kept, from, bytes);
	promise(!memcmp(kept, from, bytes), "as many bytes to store");
	stores += o == EMULATE_DONE;
	return o;
}

static enum emulate_outcome do_exchange(void *context, uint64_t a, const void *expected, const void *value, unsigned bytes,
	struct emulate_fault *f)
{
	(void)expected;
	return do_write(context, a, value, bytes, f);
}

static const struct emulate_memory memory = {do_read, do_write, do_exchange, 0};

static void disassemble(unsigned mode, const struct input *in, const struct insn *i)
{
	const ZydisMachineMode modes[] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
	const ZydisStackWidth widths[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};
	ZydisDecoder decoder;
	ZydisDecodedInstruction z;

	ZydisDecoderInit(&decoder, modes[mode / 4], widths[mode / 4]);
	promise(ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, 0, in->bytes, sizeof in->bytes, &z)), "Zydis knows it");
	promise(z.length == i->length, "Zydis counts as many bytes");
}

static struct vcpu state_of(unsigned mode, const struct input *in)
{
	struct vcpu v = {.rip = RIP_AT, .rflags = RFLAGS_FIXED | (in->flags & (RFLAGS_STATUS | RFLAGS_DF | RFLAGS_TF | RFLAGS_IF))};

	memcpy(v.gpr, in->gpr, sizeof v.gpr);
	v.efer = is_64bit ? EFER_LME | EFER_LMA : 0;
	for (unsigned s = 0; s < 6; s++)
		v.seg[s] = (struct segment){.base = in->seg[s].base, .limit = in->seg[s].limit,
			.attr = in->seg[s].attr | (in->seg[s].limit & 1 ? SEG_DB : 0)};
	v.seg[CS].attr = is_64bit ? SEG_L : mode == 4 ? SEG_DB : 0;
	return v;
}

static void carry_out(unsigned mode, const struct input *in, const struct insn *i)
{
	struct vcpu v = state_of(mode, in), before = v;
	struct emulate_fault fault = {0};
	bool string = i->form == INSN_STRING;
	enum emulate_outcome o;

	calls = stores = 0;
	o = emulate(&v, i, &memory, &fault);
	promise(v.rip == (is_64bit ? RIP_AT + i->length : (uint32_t)(RIP_AT + i->length)) ? o == EMULATE_DONE
			: v.rip == RIP_AT && (o != EMULATE_DONE || (string && i->rep != INSN_ONCE)),
		"RIP is behind what is done, or at what is not");
	promise(!((v.rflags ^ before.rflags) & ~RFLAGS_STATUS), "only status flags change");
	promise(!memcmp(v.seg, before.seg, sizeof v.seg), "no segment register changes");
	promise(string || stores <= 1, "one store");
	if (o != EMULATE_DONE && (!string || i->rep == INSN_ONCE || o == EMULATE_AGAIN))
		promise(!memcmp(&v, &before, sizeof v), "what is not done has changed nothing");
	if (o == EMULATE_FAULT)
		promise(fault.vector == VECTOR_PF || fault.vector == VECTOR_GP || fault.vector == VECTOR_SS, "#PF, #GP or #SS");
}

static void one(const uint8_t *p, size_t n)
{
	struct input in = {0};
	unsigned mode;
	struct insn i;

	memcpy(&in, p, n < sizeof in ? n : sizeof in);
	answers = p + sizeof in;
	answers_left = n > sizeof in ? n - sizeof in : 0;
	mode = (const unsigned[]){2, 4, 8, 8}[in.mode & 3];
	is_64bit = mode == 8;
	insn_decode(mode, in.bytes, sizeof in.bytes, &i);
	if (insn_decode_memory(mode, in.bytes, sizeof in.bytes, &i) != INSN_OK)
		return;
	promise(i.length && i.length <= INSN_BYTES_MAX, "1 to 15 bytes");
	disassemble(mode, &in, &i);
	carry_out(mode, &in, &i);
}

int main(void)
{
	return fuzz(one, 100000);
}
