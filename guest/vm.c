/* SPDX-License-Identifier: MIT */
#include "guest/vm.h"
#include "guest/text.h"

static void uart_byte(void *vm, uint8_t byte)
{
	vm_console_byte(vm, byte);
}

static bool send(void *vm, const struct apic_message *m)
{
	return lapic_send(vm, m);
}

void vm_init_devices(struct vm *vm, uint64_t now)
{
	const struct config *c = &vm->config;

	store_relaxed(&vm->awake, 1);
	vm->pic_told = -1;
	match_init(&vm->until, c->until);
	vm->bus.lock.rank = LOCK_BUS;
	pic_init(&vm->pic);
	ioapic_init(&vm->ioapic, &vm->bus.lock, send, vm);
	vm->irq = (struct irq){.pic = &vm->pic, .ioapic = &vm->ioapic};
	pit_init(&vm->pit, &vm->irq, now);
	uart_init(&vm->uart, &vm->irq, uart_byte, vm);
	cmos_init(&vm->cmos, &vm->irq, c->mem, vm->vcpus, now);
	power_init(&vm->power, vm, &vm->irq, now);
	fwcfg_init(&vm->fwcfg, c->mem, vm->vcpus);
	testdev_init(&vm->testdev, vm);

	/* the busiest first: the bus looks from the front */
	testdev_attach(&vm->testdev, &vm->bus);
	uart_attach(&vm->uart, &vm->bus);
	pic_attach(&vm->pic, &vm->bus);
	pit_attach(&vm->pit, &vm->bus);
	cmos_attach(&vm->cmos, &vm->bus);
	power_attach(&vm->power, &vm->bus);
	pci_attach(&vm->pci, &vm->power, &vm->bus);
	fwcfg_attach(&vm->fwcfg, &vm->bus);
	ioapic_attach(&vm->ioapic, &vm->mmio);
	mmio_add(&vm->mmio, gpa(LAPIC_BASE), LAPIC_BYTES, lapic_mmio, 0);
}

unsigned vm_receive(struct vm *vm, const uint8_t *bytes, unsigned n)
{
	unsigned taken = 0;

	lock_take(&vm->bus.lock);
	while (taken < n && uart_receive(&vm->uart, bytes[taken]))
		taken++;
	lock_drop(&vm->bus.lock);
	return taken;
}

void vm_console_raw(struct vm *vm, bool raw)
{
	lock_take(&vm->bus.lock);
	if (raw) {
		host_raw(vm->line, vm->line_n);
		vm->line_n = 0;
	}
	vm->raw = raw;
	lock_drop(&vm->bus.lock);
}

void vm_console_flush(struct vm *vm)
{
	if (vm->line_n == 0)
		return;
	vm->line[vm->line_n] = 0;
	host_print("%s| %s", vm->config.name, vm->line);
	fetch_add_relaxed(&vm->printed, 1);
	vm->line_n = 0;
}

static void show_in_lines(struct vm *vm, uint8_t byte)
{
	if (byte == '\r')
		return;
	if (byte == '\n') {
		if (vm->line_n == 0) {
			host_print("%s|", vm->config.name);
			fetch_add_relaxed(&vm->printed, 1);
		}
		vm_console_flush(vm);
	} else {
		vm->line[vm->line_n++] = (byte < ' ' && byte != '\t') || byte == 0x7f ? '.' : (char)byte;
		if (vm->line_n == VM_LINE)
			vm_console_flush(vm);
	}
}

void vm_console_byte(struct vm *vm, uint8_t byte)
{
	if (vm->raw) {
		host_raw((const char *)&byte, 1);
		fetch_add_relaxed(&vm->printed, 1);
	} else {
		show_in_lines(vm, byte);
	}
	if (match_byte(&vm->until, byte))
		vm_end_until(vm);
}

/* True for the first to end this guest. It writes the verdict and then calls publish(). */
static bool claim(struct vm *vm)
{
	uint32_t unclaimed = 0;

	return cmpxchg_seq(&vm->claimed, &unclaimed, 1); /* partner: itself, on another CPU */
}

static void publish(struct vm *vm)
{
	store_release(
		&vm->state, VM_ENDING); /* pairs with the acquire in vm_running and in whoever prints the verdict */
}

void vm_end_exit(struct vm *vm, uint32_t value)
{
	if (!claim(vm))
		return;
	vm->exit_value = value;
	vm->pass = value == 0;
	publish(vm);
}

void vm_end_until(struct vm *vm)
{
	vm_end_exit(vm, 0);
}

void vm_end_power_off(struct vm *vm)
{
	if (vm->config.until[0])
		vm_end_fail(vm, "powered off before until= text");
	else
		vm_end_exit(vm, 0);
}

void vm_end_fail(struct vm *vm, const char *fmt, ...)
{
	va_list arguments;

	if (!claim(vm))
		return;
	vm->pass = false;
	va_start(arguments, fmt);
	text_format_list(vm->reason, sizeof vm->reason, fmt, arguments);
	va_end(arguments);
	publish(vm);
}

void vm_print_replica(const struct vm *vm, uint64_t differing, gfn_t first)
{
	host_log(HOST_INFO, "%s: %lu pages copied in the replica's last two periods; %lu rounds, %lu of them by D bits",
		vm->config.name, vm->replica.last[0] + vm->replica.last[1], load_relaxed(&vm->mmu.stats.rounds),
		load_relaxed(&vm->mmu.stats.dbit_rounds));
	if (differing)
		host_print("REPLICA %s DIFFERS pages=%lu first=gfn 0x%lx", vm->config.name, differing, first.v);
	else
		host_print("REPLICA %s EQUAL pages=%lu copied=%lu", vm->config.name, mmu_pages(&vm->mmu),
			vm->replica.copied);
}

bool vm_print_verdict(const struct vm *vm, bool replica_equal)
{
	const char *name = vm->config.name;

	if (vm->pass && replica_equal)
		host_print("VERDICT %s PASS %u", name, vm->exit_value);
	else if (vm->pass)
		host_print("VERDICT %s FAIL replica: differs from the guest's memory", name);
	else if (vm->reason[0])
		host_print("VERDICT %s FAIL %s", name, vm->reason);
	else
		host_print("VERDICT %s FAIL %u", name, vm->exit_value);
	return vm->pass && replica_equal;
}

/* The lock is for the one vCPU that has the 8259A's output. What it does not find it is to be told when it comes, even if that
 * is what it was told last: between an access and its vm_tick() a vector can go and come again, and tell_pic() sees one value. */
static bool pic_waits(const struct vcpu *v)
{
	struct vm *vm = v->vm;
	bool waits;

	if (!lapic_takes_extint(v))
		return false;
	lock_take(&vm->bus.lock);
	waits = pic_offered(&vm->pic) >= 0;
	if (!waits)
		vm->pic_told = -1;
	lock_drop(&vm->bus.lock);
	return waits;
}

bool vm_interrupt_pending(struct vcpu *v)
{
	if (v->pv.eoi_offered)
		pv_eoi_sync(v);
	return lapic_pending(v) >= 0 || pic_waits(v);
}

static int pic_vector(struct vm *vm)
{
	int vector = -1;

	lock_take(&vm->bus.lock);
	if (pic_offered(&vm->pic) >= 0) {
		vector = pic_acknowledge(&vm->pic);
		vm->pic_told = pic_offered(&vm->pic);
	}
	lock_drop(&vm->bus.lock);
	return vector;
}

int vm_interrupt_acknowledge(struct vcpu *v)
{
	int vector = lapic_takes_extint(v) ? pic_vector(v->vm) : -1;

	if (vector >= 0)
		return vector;
	vector = lapic_pending(v);
	if (vector >= 0)
		lapic_accept(v, (uint8_t)vector);
	return vector;
}

/* Under bus.lock. */
static void tell_pic(struct vm *vm)
{
	int offered = pic_offered(&vm->pic);

	if (offered == vm->pic_told)
		return;
	vm->pic_told = offered;
	for (unsigned i = 0; offered >= 0 && i < vm->vcpus; i++)
		if (lapic_takes_extint(vm->vcpu[i]))
			vcpu_attract(vm->vcpu[i]);
}

uint64_t vm_tick(struct vm *vm, uint64_t now)
{
	uint64_t next;

	lock_take(&vm->bus.lock);
	if (now > vm->ticked)
		vm->ticked = now; /* another CPU may have looked at the clock later and be here first */
	next = pit_tick(&vm->pit, vm->ticked);
	next = earlier(next, uart_tick(&vm->uart, vm->ticked));
	next = earlier(next, cmos_tick(&vm->cmos, vm->ticked));
	next = earlier(next, power_tick(&vm->power, vm->ticked));
	tell_pic(vm);
	lock_drop(&vm->bus.lock);
	return next;
}

void vm_ioapic_eoi(struct vm *vm, uint8_t vector)
{
	lock_take(&vm->bus.lock);
	ioapic_eoi(&vm->ioapic, vector);
	lock_drop(&vm->bus.lock);
}
