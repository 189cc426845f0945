/* SPDX-License-Identifier: MIT */
#include "guest/vmset.h"
#include "guest/loader.h"
#include "guest/smbios.h"
#include "guest/text.h"
#include "mm/page.h"

/* Shadow pages that a guest may have when shadow= does not say: one for so many pages of its RAM, and no fewer than the
 * least. A table maps 512 pages, but many are sparse, and one may be shadowed in several roles. */
#define PAGES_PER_SHADOW 16
#define SHADOW_LEAST 1024
#define MIB_SHIFT 20

/* What is known of one module while guests are made. */
struct entry {
	struct config config;
	bool refused;
	unsigned owner; /* initrd or module: index of its guest's entry */
};

struct builder {
	struct vmset *set;
	const struct vmset_module *module;
	struct entry *entry;
	unsigned modules;
	bool said; /* refusals have been printed before */
};

static bool is_guest(const struct builder *b, unsigned i)
{
	return b->entry[i].config.role == CONFIG_GUEST;
}

static void refuse(struct builder *b, unsigned i, const char *reason)
{
	if (b->said)
		(void)reason;
	else if (is_guest(b, i))
		host_print("VERDICT %s FAIL refused: module %u: %s", b->entry[i].config.name, i + 1, reason);
	else
		host_print("VERDICT module%u FAIL refused: %s", i + 1, reason);
	b->entry[i].refused = true;
	b->set->refused++;
}

/* The first guest of that name before entry `end`, or `end`. */
static unsigned find_guest(const struct builder *b, const char *name, unsigned end)
{
	for (unsigned i = 0; i < end; i++)
		if (is_guest(b, i) && text_equal(b->entry[i].config.name, name))
			return i;
	return end;
}

/* g1, g2, … in order, but for names that the strings give. */
static void name_guests(struct builder *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->modules; i++) {
		char *name = b->entry[i].config.name;

		if (!is_guest(b, i) || name[0])
			continue;
		do {
			char next[CONFIG_NAME];

			text_format(next, sizeof next, "g%u", ++n);
			if (find_guest(b, next, b->modules) == b->modules)
				text_copy(name, CONFIG_NAME, next);
		} while (!name[0]);
	}
}

/* All strings are read first, so that names are known; then the errors are told in order. */
static void read_strings(struct builder *b)
{
	char error[CONFIG_ERROR], reason[CONFIG_ERROR + 32];

	for (unsigned i = 0; i < b->modules; i++)
		config_parse(&b->entry[i].config, b->module[i].string, error);
	name_guests(b);
	for (unsigned i = 0; i < b->modules; i++) {
		struct config *c = &b->entry[i].config, again;
		unsigned same = is_guest(b, i) ? find_guest(b, c->name, i) : i;

		if (b->module[i].refused) {
			refuse(b, i, b->module[i].refused);
		} else if (!config_parse(&again, b->module[i].string, error)) {
			refuse(b, i, error);
		} else if (same < i) {
			text_format(reason, sizeof reason, "name=%s is the name of module %u", c->name, same + 1);
			refuse(b, i, reason);
		}
	}
}

/* Gives each initrd and module its guest. One that was refused takes the guest with it, if that was read: without it the guest
 * would be another. */
static void find_owners(struct builder *b)
{
	char reason[CONFIG_ERROR];

	for (unsigned i = 0; i < b->modules; i++) {
		struct entry *e = &b->entry[i];
		const char *key = e->config.role == CONFIG_INITRD ? "initrd-of" : "module-of";

		e->owner = b->modules;
		if (is_guest(b, i))
			continue;
		e->owner = find_guest(b, e->config.of, b->modules);
		if (e->owner == b->modules && !e->refused) {
			text_format(reason, sizeof reason, "%s=%s: no guest has this name", key, e->config.of);
			refuse(b, i, reason);
		} else if (e->refused && e->owner < b->modules && !b->entry[e->owner].refused) {
			text_format(reason, sizeof reason, "its module %u is refused", i + 1);
			refuse(b, e->owner, reason);
		}
	}
}

/* The guest's files, the initrd first; false: *reason says why not. */
static bool gather(
	const struct builder *b, unsigned guest, struct loader_file *file, unsigned *files, const char **reason)
{
	*files = 0;
	for (enum config_role role = CONFIG_INITRD; role <= CONFIG_MODULE; role++) {
		for (unsigned i = 0; i < b->modules; i++) {
			const struct config *c = &b->entry[i].config;

			if (c->role != role || b->entry[i].owner != guest)
				continue;
			*reason = "it has more than one initrd";
			if (role == CONFIG_INITRD && *files == 1)
				return false;
			*reason = "it has more than 16 modules";
			if (*files == MULTIBOOT_MAX_MODULES)
				return false;
			file[(*files)++] = (struct loader_file){
				b->module[i].data, b->module[i].bytes, c->command_line, role == CONFIG_INITRD};
		}
	}
	return true;
}

static bool write_memory(void *to, gpa_t at, const void *from, uint64_t bytes)
{
	return mmu_write(to, at, from, bytes);
}

static bool add_memory(struct vm *vm, char *reason, size_t size)
{
	const struct config *c = &vm->config;
	uint64_t free = page_free_count() << PAGE_SHIFT >> MIB_SHIFT, shadow = c->shadow;

	if (!shadow)
		shadow = (c->mem >> PAGE_SHIFT) / PAGES_PER_SHADOW;
	if (!c->shadow && shadow < SHADOW_LEAST)
		shadow = SHADOW_LEAST;
	if (mmu_init(&vm->mmu, c->name, shadow) && mmu_add_ram(&vm->mmu, c->mem))
		return true;
	text_format(reason, size, free < c->mem >> MIB_SHIFT ? "mem=%luM: only %lu MiB are free"
		: "mem=%luM: of %lu MiB that are free, too little is left for what is kept of it, or it is in too many pieces",
		c->mem >> MIB_SHIFT, free);
	return false;
}

/* The state at the image's entry. Further vCPUs wait, in a state that whoever starts them replaces. */
static bool reset_vcpu(struct vcpu *v, const struct loader_entry *e)
{
	const struct desc_table gdt = {e->gdt, e->gdt_limit};

	if (v->index == 0 && e->kind == LOADER_LINUX64)
		return vcpu_reset_linux64(v, e->entry, e->info, gdt, e->cr3);
	if (v->index == 0 && e->kind == LOADER_LINUX32)
		vcpu_reset_linux32(v, e->entry, e->info, gdt);
	else
		vcpu_reset_multiboot(v, e->entry, MULTIBOOT_ENTRY_MAGIC, e->info);
	return true;
}

static bool add_vcpu(struct vm *vm, const struct loader_entry *entry)
{
	struct vcpu *v = page_alloc_array(sizeof *v);

	if (!v)
		return false;
	v->vm = vm;
	v->index = vm->vcpus;
	if (!mmu_vcpu_init(&v->mmu, &vm->mmu)) {
		page_free_array(v, sizeof *v);
		return false;
	}
	vm->vcpu[vm->vcpus++] = v;
	if (!reset_vcpu(v, entry))
		return false;
	v->tsc_offset = -vm->created;
	lapic_init(v);
	if (v->index) {
		v->activity = VCPU_OFF;
		store_relaxed(&v->asleep, 1);
	}
	return true;
}

static bool add_replica(struct vm *vm, char *reason, size_t size)
{
	static const enum log_mode modes[CONFIG_LOGS] = {
		[CONFIG_LOG_WP] = LOG_WP, [CONFIG_LOG_DBIT] = LOG_DBIT, [CONFIG_LOG_AUTO] = LOG_AUTO};

	if (vm->config.log == CONFIG_LOG_OFF)
		return true;
	log_set_mode(&vm->mmu, modes[vm->config.log]);
	vm->has_replica = replica_init(&vm->replica, &vm->mmu);
	if (!vm->has_replica)
		text_format(reason, size, "log=%s: no memory for a replica of %lu MiB, %lu MiB are free",
			config_log_names[vm->config.log], vm->config.mem >> MIB_SHIFT, page_free_count() << PAGE_SHIFT >> MIB_SHIFT);
	return vm->has_replica;
}

/* Fills a new vm; false: reason says why not, and what it got so far is vmset_destroy_vm's. */
static bool build(struct builder *b, struct vm *vm, unsigned i, char *reason, size_t size)
{
	const struct image_memory memory = {write_memory, &vm->mmu};
	struct loader_file image = {b->module[i].data, b->module[i].bytes, vm->config.command_line, false};
	struct loader_file file[MULTIBOOT_MAX_MODULES];
	struct loader_entry entry;
	const char *why;
	unsigned files;

	if (!gather(b, i, file, &files, &why)) {
		text_format(reason, size, "%s", why);
		return false;
	}
	if (!add_memory(vm, reason, size) ||
		!loader_load(vm->config.mem, vm->config.vcpus, &memory, &image, file, files, &entry, reason) ||
		!add_replica(vm, reason, size))
		return false;
	vm->created = host_clock();
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		if (!add_vcpu(vm, &entry)) {
			text_format(reason, size, "no memory for its vCPUs");
			return false;
		}
	vm_init_devices(vm, vm->created);
	if (entry.kind != LOADER_MULTIBOOT) {
		smbios_attach(&vm->mmio);
		if (!mmu_set_blank(&vm->mmu, SMBIOS_LEAVES_BLANK)) {
			text_format(reason, size, "no memory for what is no RAM");
			return false;
		}
	}
	store_release(&vm->state, VM_RUNNING); /* pairs with vm_running */
	return true;
}

static void make_guest(struct builder *b, unsigned i)
{
	struct vm *vm = page_alloc_array(sizeof *vm);
	char reason[LOADER_ERROR];

	if (!vm) {
		refuse(b, i, "no memory");
		return;
	}
	vm->config = b->entry[i].config;
	if (build(b, vm, i, reason, sizeof reason)) {
		b->set->vm[b->set->vms++] = vm;
		return;
	}
	refuse(b, i, reason);
	vmset_destroy_vm(vm);
}

/* Reads what the modules' strings say; b->entry is 0 when there is no memory for it. */
static void read_modules(struct builder *b)
{
	CHECK(b->modules <= VMSET_MAX);
	*b->set = (struct vmset){0};
	b->entry = page_alloc_array(b->modules * sizeof(struct entry));
	if (!b->entry) {
		host_log(HOST_ERROR, "no memory to read the modules' strings");
		b->set->refused = b->modules;
		return;
	}
	read_strings(b);
	find_owners(b);
}

static void forget_modules(struct builder *b)
{
	page_free_array(b->entry, b->modules * sizeof(struct entry));
}

void vmset_create(struct vmset *s, const struct vmset_module *module, unsigned modules)
{
	struct builder b = {.set = s, .module = module, .modules = modules};

	read_modules(&b);
	if (!b.entry)
		return;
	for (unsigned i = 0; i < modules; i++)
		if (is_guest(&b, i) && !b.entry[i].refused)
			make_guest(&b, i);
	forget_modules(&b);
}

struct vm *vmset_again(const struct vmset_module *module, unsigned modules, const char *name)
{
	struct vmset one;
	struct builder b = {.set = &one, .module = module, .modules = modules, .said = true};
	unsigned i;

	read_modules(&b);
	if (!b.entry)
		return 0;
	i = find_guest(&b, name, modules);
	CHECK(i < modules);
	b.said = false;
	make_guest(&b, i);
	forget_modules(&b);
	return one.vms ? one.vm[0] : 0;
}

struct vm_holds vmset_destroy_vm(struct vm *vm)
{
	struct vm_holds holds = {0};

	for (unsigned i = 0; i < vm->vcpus; i++) {
		uint64_t table = load_relaxed(&vm->vcpu[i]->mmu.stats.worst_hold);

		holds.table = table > holds.table ? table : holds.table;
		mmu_vcpu_destroy(&vm->vcpu[i]->mmu);
		page_free_array(vm->vcpu[i], sizeof *vm->vcpu[i]);
	}
	if (vm->has_replica)
		replica_destroy(&vm->replica);
	mmu_destroy(&vm->mmu);
	holds.mmu = lock_longest(&vm->mmu.lock);
	holds.bus = lock_longest(&vm->bus.lock);
	page_free_array(vm, sizeof *vm);
	return holds;
}
