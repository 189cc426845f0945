/* SPDX-License-Identifier: MIT */
/* guest/vmset.c: boot modules become guests, or verdicts that say why not. On the real MMU. */
#include "tools/host/loader_test.h"

#include "guest/boot_params.h"
#include "guest/vmset.h"
#include "mm/page.h"

static struct vmset set;
static struct vmset_module module[VMSET_MAX];
static unsigned modules;
static uint64_t free_before;

static int set_up(void **state)
{
	(void)state;
	host_native_init(1);
	mmu_global_init();
	make_elf32();
	modules = 0;
	free_before = page_free_count();
	return 0;
}

static void add(const char *string)
{
	module[modules++] = (struct vmset_module){file, FILE_BYTES, string, 0};
}

static void create(unsigned guests, unsigned refused)
{
	vmset_create(&set, module, modules);
	assert_int_equal(set.vms, guests);
	assert_int_equal(set.refused, refused);
}

/* Everything given back: what the slabs keep is little. */
static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < set.vms; i++)
		vmset_destroy_vm(set.vm[i]);
	assert_true(page_free_count() + 512 > free_before);
	return 0;
}

static void said(const char *line)
{
	if (!host_log_has(line))
		fail_msg("'%s' was not printed; the last line is '%s'", line, host_log_line(0));
}

static void no_modules_no_guests(void **state)
{
	(void)state;
	create(0, 0);
}

static void a_guest_is_ready_to_run(void **state)
{
	struct vcpu *v;
	struct vm *vm;
	uint8_t code[64];
	uint32_t flags;

	(void)state;
	add("name=a mem=4M -- hello");
	create(1, 0);
	vm = set.vm[0];
	v = vm->vcpu[0];
	assert_true(vm_running(vm));
	assert_int_equal(vm->vcpus, 1);
	assert_ptr_equal(v->vm, vm);
	assert_int_equal(v->rip, LOAD + 0x20);
	assert_int_equal(v->gpr[RAX], 0x2badb002);
	assert_true(mmu_read(&vm->mmu, gpa(v->gpr[RBX]), &flags, 4));
	assert_int_equal(flags, 0x24d);
	assert_true(mmu_read(&vm->mmu, gpa(LOAD), code, sizeof code));
	assert_memory_equal(code, file + 0x1000, sizeof code);
	assert_false(vm->has_replica);
	assert_int_equal(mmu_pages(&vm->mmu), 1024 - 0x60);
	assert_int_equal(vm->mmu.budget, 1024);
	/* Its devices are there. */
	assert_int_equal(bus_io(&vm->bus, 0x5f4, 4, false, &flags), BUS_DONE);
	assert_int_equal(flags, 1);
}

static void further_vcpus_are_off(void **state)
{
	struct vm *vm;

	(void)state;
	add("name=a mem=4M vcpus=3");
	create(1, 0);
	vm = set.vm[0];
	assert_int_equal(vm->vcpus, 3);
	assert_int_equal(vm->mmu.vcpus, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vm->vcpu[i]->index, i);
		assert_int_equal(vm->vcpu[i]->activity, i ? VCPU_OFF : VCPU_RUNNABLE);
		assert_int_equal(load_relaxed(&vm->vcpu[i]->lapic.base) >> 8 & 1, i == 0); /* the bootstrap processor */
	}
}

/* A bzImage of one sector of code; the 64-bit entry. */
static void make_kernel(void)
{
	memset(file, 0, sizeof file);
	*(struct setup_header *)(file + SETUP_HEADER_OFFSET) = (struct setup_header){.setup_sects = 1, .syssize = 0x40,
		.boot_flag = 0xaa55, .jump = 0xeb, .jump_bytes = 0x6a, .magic = 0x53726448, .version = 0x20f, .loadflags = 1,
		.initrd_addr_max = ~0u, .xloadflags = 1, .cmdline_size = 255, .pref_address = LOAD, .init_size = 0x100000};
}

static void a_linux_guest_is_ready_to_run(void **state)
{
	struct setup_header h;
	struct vcpu *v;
	struct vm *vm;
	char word[10];

	(void)state;
	make_kernel();
	add("name=a mem=4M vcpus=2 -- hello");
	module[modules++] = (struct vmset_module){"an initrd", 9, "initrd-of=a", 0};
	create(1, 0);
	vm = set.vm[0];
	v = vm->vcpu[0];
	assert_int_equal(v->rip, LOAD + 0x200);
	assert_true(vcpu_64bit(v));
	assert_int_equal(v->mmu.mode, PAGING_LONG);
	assert_true(mmu_read(&vm->mmu, gpa(v->gpr[RSI] + SETUP_HEADER_OFFSET), &h, sizeof h));
	assert_int_equal(h.ramdisk_image, (4 << 20) - PAGE_SIZE);
	assert_true(mmu_read(&vm->mmu, gpa(h.ramdisk_image), word, sizeof word));
	assert_string_equal(word, "an initrd");
	assert_true(mmu_read(&vm->mmu, gpa(h.cmd_line_ptr), word, sizeof word));
	assert_memory_equal(word, "hello", 6);
	assert_int_equal(vm->vcpu[1]->activity, VCPU_OFF);
}

static void a_linux_guest_takes_no_modules(void **state)
{
	(void)state;
	make_kernel();
	add("name=a mem=4M");
	add("module-of=a");
	create(0, 1);
	said("VERDICT a FAIL refused: module 1: module-of=: a Linux bzImage takes no modules; it takes one initrd, named by "
	     "initrd-of=");
}

/* One of several, by its name; what was refused is not said again. */
static void a_guest_is_made_anew(void **state)
{
	struct vm *again;
	unsigned said_before;

	(void)state;
	add("name=a mem=4M -- one");
	add("name=bad colour=red");
	add("mem=8M vcpus=2 -- two");
	add("module-of=g1 -- more");
	create(2, 1);
	vmset_destroy_vm(set.vm[1]);
	said_before = host_log_count(HOST_INFO);
	again = vmset_again(module, modules, "g1");
	assert_non_null(again);
	assert_int_equal(host_log_count(HOST_INFO), said_before);
	assert_true(strstr(host_log_line(0), "colour")); /* the last line yet */
	assert_true(vm_running(again));
	assert_string_equal(again->config.name, "g1");
	assert_string_equal(again->config.command_line, "two");
	assert_int_equal(again->vcpus, 2);
	assert_int_equal(mmu_pages(&again->mmu), 2048 - 0x60);
	set.vm[1] = again;
}

static void no_memory_to_make_it_anew(void **state)
{
	static hfn_t all[2048];
	unsigned n = 0;
	uint64_t frames;

	(void)state;
	add("name=a mem=256M");
	create(1, 0);
	vmset_destroy_vm(set.vm[0]);
	set.vms = 0;
	frames = page_free_count();
	while (n < 2048 && hfn_valid(all[n] = page_alloc(8, PAGE_ANY)))
		n++;
	assert_null(vmset_again(module, modules, "a"));
	said("VERDICT a FAIL refused: module 1: mem=256M: only");
	while (n)
		page_free(all[--n], 8);
	assert_int_equal(page_free_count(), frames);
}

static void the_budget_grows_with_the_memory(void **state)
{
	(void)state;
	add("mem=256M");
	add("mem=4M shadow=77");
	create(2, 0);
	assert_int_equal(set.vm[0]->mmu.budget, 4096);
	assert_int_equal(set.vm[1]->mmu.budget, 77);
}

static void a_replica_where_it_is_asked_for(void **state)
{
	(void)state;
	add("name=a mem=4M log=wp");
	add("name=b mem=4M");
	create(2, 0);
	assert_true(set.vm[0]->has_replica);
	assert_false(set.vm[1]->has_replica);
	assert_int_equal(replica_round(&set.vm[0]->replica, 0), LOG_DONE);
	assert_int_equal(replica_compare(&set.vm[0]->replica, &(gfn_t){0}), 0);
	assert_int_equal(set.vm[0]->replica.copied, 1024 - 0x60);
}

static void default_names_avoid_those_given(void **state)
{
	(void)state;
	add("mem=4M");
	add("mem=4M name=g2");
	add("mem=4M");
	add("mem=4M");
	create(4, 0);
	assert_string_equal(set.vm[0]->config.name, "g1");
	assert_string_equal(set.vm[1]->config.name, "g2");
	assert_string_equal(set.vm[2]->config.name, "g3");
	assert_string_equal(set.vm[3]->config.name, "g4");
}

static void a_bad_string_refuses_its_guest_alone(void **state)
{
	(void)state;
	add("name=a mem=4M mme=1");
	add("mem=4Q");
	add("name=c mem=4M");
	create(1, 2);
	said("VERDICT a FAIL refused: module 1: unknown key in 'mme=1'; the keys are name, mem,");
	said("VERDICT g1 FAIL refused: module 2: mem=4Q: expected a size");
	assert_string_equal(set.vm[0]->config.name, "c");
}

static void of_two_guests_of_one_name_the_first_runs(void **state)
{
	(void)state;
	add("name=a mem=4M -- first");
	add("name=a mem=4M -- second");
	create(1, 1);
	said("VERDICT a FAIL refused: module 2: name=a is the name of module 1");
	assert_string_equal(set.vm[0]->config.command_line, "first");
}

static void more_memory_than_there_is(void **state)
{
	(void)state;
	add("name=big mem=64G");
	add("name=a mem=4M");
	create(1, 1);
	said("VERDICT big FAIL refused: module 1: mem=65536M: only ");
	said(" MiB are free");
}

/* As much is free, but in more pieces than a guest can have. */
static void memory_in_too_many_pieces(void **state)
{
	struct page_range piece[40];

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		piece[i] = (struct page_range){(4 * i + 2) << 20, 2 << 20};
	page_init(piece, 40);
	mmu_global_init();
	free_before = page_free_count();
	add("name=big mem=50M");
	add("name=a mem=4M");
	create(1, 1);
	said("VERDICT big FAIL refused: module 1: mem=50M: of 79 MiB that are free, too little is left");
	said(" or it is in too many pieces");
}

static void a_replica_larger_than_there_is(void **state)
{
	(void)state;
	add("name=big mem=700M log=wp");
	add("name=a mem=4M");
	create(1, 1);
	said("VERDICT big FAIL refused: module 1: log=wp: no memory for a replica of 700 MiB");
}

static void an_image_that_is_none(void **state)
{
	static const char text[] = "just a text file";

	(void)state;
	add("name=t mem=4M");
	module[0].data = text;
	module[0].bytes = sizeof text;
	add("name=a mem=4M");
	create(1, 1);
	said("VERDICT t FAIL refused: module 1: unknown magic 6a 75 73 74; expected a multiboot 1 image");
}

static void an_image_too_large_for_its_guest(void **state)
{
	(void)state;
	phdr32(1)->p_memsz = 4 << 20;
	add("name=a mem=4M");
	add("name=b mem=8M");
	create(1, 1);
	said("VERDICT a FAIL refused: module 1: the segment at 0x102000 of 0x400000 bytes is not in the guest's RAM "
	     "(mem=4096K)");
}

static void initrd_and_modules_reach_their_guest(void **state)
{
	static const char one[] = "one", two[] = "two!", rd[] = "initrd";
	uint32_t info[12], mods[12];

	(void)state;
	add("module-of=a -- 1st");
	add("name=a mem=4M");
	add("module-of=a");
	add("initrd-of=a -- rd");
	module[0].data = one, module[0].bytes = sizeof one;
	module[2].data = two, module[2].bytes = sizeof two;
	module[3].data = rd, module[3].bytes = sizeof rd;
	create(1, 0);
	assert_true(mmu_read(&set.vm[0]->mmu, gpa(set.vm[0]->vcpu[0]->gpr[RBX]), info, sizeof info));
	assert_int_equal(info[5], 3);
	assert_true(mmu_read(&set.vm[0]->mmu, gpa(info[6]), mods, sizeof mods));
	for (unsigned i = 0; i < 3; i++) {
		static const char *const data[] = {rd, one, two}, *const strings[] = {"rd", "1st", ""};
		char got[16] = "";

		assert_int_equal(mods[4 * i + 1] - mods[4 * i], strlen(data[i]) + 1);
		mmu_read(&set.vm[0]->mmu, gpa(mods[4 * i]), got, strlen(data[i]) + 1);
		assert_string_equal(got, data[i]);
		mmu_read(&set.vm[0]->mmu, gpa(mods[4 * i + 2]), got, strlen(strings[i]) + 1);
		assert_string_equal(got, strings[i]);
	}
}

static void modules_of_nobody(void **state)
{
	(void)state;
	add("name=a mem=4M");
	add("initrd-of=b");
	add("module-of=c");
	create(1, 2);
	said("VERDICT module2 FAIL refused: initrd-of=b: no guest has this name");
	said("VERDICT module3 FAIL refused: module-of=c: no guest has this name");
}

/* A guest without a file that it was to have would be another. */
static void a_refused_module_takes_its_guest_with_it(void **state)
{
	(void)state;
	add("name=a mem=4M");
	add("initrd-of=a x=1");
	add("name=b mem=4M");
	add("module-of=b");
	add("module-of=b");
	add("name=c mem=4M");
	add("x=1 module-of=c");
	module[3].refused = module[4].refused = "it is empty";
	create(1, 6);
	said("VERDICT module2 FAIL refused: unknown key in 'x=1'");
	said("VERDICT a FAIL refused: module 1: its module 2 is refused");
	said("VERDICT module4 FAIL refused: it is empty");
	said("VERDICT b FAIL refused: module 3: its module 4 is refused");
}

static void two_initrds_or_too_many_modules(void **state)
{
	(void)state;
	add("name=a mem=4M");
	add("initrd-of=a");
	add("initrd-of=a");
	add("name=b mem=4M");
	for (unsigned i = 0; i < MULTIBOOT_MAX_MODULES + 1; i++)
		add("module-of=b");
	add("name=c mem=4M");
	create(1, 2);
	said("VERDICT a FAIL refused: module 1: it has more than one initrd");
	said("VERDICT b FAIL refused: module 4: it has more than 16 modules");
}

static void a_module_that_the_boot_code_refused(void **state)
{
	(void)state;
	add("name=a mem=4M");
	module[0].refused = "overlaps the hypervisor";
	module[0].data = 0;
	add("name=b mem=4M");
	create(1, 1);
	said("VERDICT a FAIL refused: module 1: overlaps the hypervisor");
}

/* A machine of so many free frames, one behind the other, below 4 GiB. */
static void scarce_machine(uint64_t frames)
{
	hfn_t pool;

	host_native_init(1);
	mmu_global_init();
	pool = page_alloc(11, PAGE_LOW);
	assert_true(hfn_valid(pool) && frames <= 2048);
	for (unsigned order = PAGE_MAX_ORDER + 1; order-- > 0;)
		while (hfn_valid(page_alloc(order, PAGE_ANY)))
			;
	for (uint64_t i = 0; i < frames; i++)
		page_free(hfn(pool.v + i), 0);
	assert_int_equal(page_free_count(), frames);
}

/* With ever more memory, from none on: wherever it runs out, that is told, and nothing is lost. */
static void memory_runs_out_at_any_point(void **state)
{
	static const char *const reasons[] = {"no memory to read the modules' strings", "refused: module 1: no memory",
		"refused: module 1: mem=2M: only ", "log=wp: no memory for a replica of 2 MiB"};
	unsigned seen[4] = {0}, made = 0;

	(void)state;
	add("name=a mem=2M log=wp");
	for (uint64_t frames = 0; frames < 1200; frames += frames < 4 ? 1 : 20) {
		scarce_machine(frames);
		vmset_create(&set, module, modules);
		assert_int_equal(set.vms + set.refused, 1);
		made += set.vms;
		for (unsigned i = 0; i < 4; i++)
			seen[i] += host_log_has(reasons[i]);
		if (set.vms)
			vmset_destroy_vm(set.vm[0]);
		set.vms = 0;
		/* The slabs may keep two blocks each. */
		assert_true(page_free_count() + 2 * 32 + 2 * 2 * 2 >= frames);
	}
	for (unsigned i = 0; i < 4; i++)
		if (!seen[i])
			fail_msg("never said: %s", reasons[i]);
	assert_true(made > 0);
	free_before = 0;
}

#define SET_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SET_TEST(no_modules_no_guests),
		SET_TEST(a_guest_is_ready_to_run),
		SET_TEST(further_vcpus_are_off),
		SET_TEST(a_linux_guest_is_ready_to_run),
		SET_TEST(a_linux_guest_takes_no_modules),
		SET_TEST(a_guest_is_made_anew),
		SET_TEST(no_memory_to_make_it_anew),
		SET_TEST(the_budget_grows_with_the_memory),
		SET_TEST(a_replica_where_it_is_asked_for),
		SET_TEST(default_names_avoid_those_given),
		SET_TEST(a_bad_string_refuses_its_guest_alone),
		SET_TEST(of_two_guests_of_one_name_the_first_runs),
		SET_TEST(more_memory_than_there_is),
		SET_TEST(memory_in_too_many_pieces),
		SET_TEST(a_replica_larger_than_there_is),
		SET_TEST(an_image_that_is_none),
		SET_TEST(an_image_too_large_for_its_guest),
		SET_TEST(initrd_and_modules_reach_their_guest),
		SET_TEST(modules_of_nobody),
		SET_TEST(a_refused_module_takes_its_guest_with_it),
		SET_TEST(two_initrds_or_too_many_modules),
		SET_TEST(a_module_that_the_boot_code_refused),
		SET_TEST(memory_runs_out_at_any_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
