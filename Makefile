# SPDX-License-Identifier: MIT
# One Makefile for everything: the hypervisor, its guest images, the native tests. See README.md.
#   make            umbra.elf, the guest images and a bootable ISO in build/
#   make run        two stress guests with four CPUs, on nested KVM where it works, else on Bochs; ON=qemu: on QEMU
#   make check      all tests     (make check FILTER=word: those whose name contains it)
#   make check-nested  two guests under nested KVM, on Debian's kernel in emulated machines   (FILTER=svm or vmx)
#   make check-guests  Debian's kernels and memtest86+ as guests, from their packages    (FILTER='words of a run')
#   make bench      the cost table                          make bench-host  costs of mm/ natively, beside others'
#   make lint       the rules of the tree
#   make torture    random operations with real threads    (SECONDS=n in all, SEED=s)
#   make fuzz       AFL++ on the emulator and the gdb stub's protocol   (SECONDS=n in all)
#   make mutants    broken variants that tests must catch     make models    the protocols' models
# CROSS_COMPILE=x86_64-linux-gnu- selects another toolchain, BUILD=dir another output directory, V=1 shows the commands.

BUILD ?= build
CROSS_COMPILE ?=
CC := $(CROSS_COMPILE)gcc
LD := $(CROSS_COMPILE)ld
NM := $(CROSS_COMPILE)nm
OBJCOPY := $(CROSS_COMPILE)objcopy
HOSTCC := gcc
HOSTAR := gcc-ar
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $1	$@')

ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

# Guest images: one name a line, built from guest/images/NAME.c.
IMAGES :=
IMAGES += touch
IMAGES += ptstorm
IMAGES += alias
IMAGES += dirty
IMAGES += tick
IMAGES += bench
IMAGES += hostile
IMAGES += insn
IMAGES += smp_storm
IMAGES += scale
IMAGES += modes
IMAGES += perm
IMAGES += cow
IMAGES += churn
IMAGES += roots
IMAGES += selfmap
IMAGES += wide
IMAGES += kick
IMAGES += bootstate
IMAGES += greedy
IMAGES += mmio
IMAGES += realmode
IMAGES += pv
IMAGES += signals
IMAGES += echo
IMAGES += steps

# Rooms that also compile natively.
PURE := $(wildcard mm/*.c guest/*.c boot/bootinfo.c boot/bundle.c boot/memory.c hv/acpi.c hv/acpi_power.c hv/escape.c \
	hv/font.c hv/frame.c hv/options.c hv/place.c hv/log.c hv/vmx_audit.c hv/vmx_audit_segments.c \
	hv/svm_audit.c hv/svm_exit.c)

COMMON := -std=gnu11 -g -Wall -Wextra -Werror -I. -MMD -MP -fno-strict-aliasing
METAL = $(COMMON) -O2 -m64 -ffreestanding -nostdinc -isystem $(shell $(CC) -print-file-name=include) \
	-fno-pic -fno-pie -mcmodel=small -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fno-omit-frame-pointer -fno-optimize-sibling-calls -fcf-protection=none -fno-asynchronous-unwind-tables
GUEST = $(METAL)
LINK := -nostdlib --build-id=none -z max-page-size=4096 -z noexecstack --fatal-warnings

UMBRA_SRC := $(wildcard boot/*.c boot/*.S hv/*.c hv/*.S mm/*.c guest/*.c)
UMBRA_OBJ := $(UMBRA_SRC:%=$(BUILD)/metal/%.o)
IMAGE_ELF := $(IMAGES:%=$(BUILD)/guest/%.elf)

.PHONY: all images run torture fuzz deps-fuzz mutants models check check-nested check-guests iso lint bench bench-host clean deps deps-bench-host tests
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/umbra.elf $(BUILD)/umbra.iso images
images: $(IMAGE_ELF)

# Installs what is missing; does nothing and costs next to nothing when all is there.
deps:
	@tools/deps

deps-bench-host:
	@tools/deps bench-host

deps-fuzz:
	@tools/deps fuzz

# ---- the hypervisor ----

$(BUILD)/metal/%.c.o: %.c Makefile | deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(METAL) -c $< -o $@

$(BUILD)/metal/%.S.o: %.S Makefile | deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(METAL) -Wa,-I$(BUILD) -c $< -o $@

# The guests that run when no boot module names any.
$(BUILD)/metal/hv/builtin.S.o: $(BUILD)/guest/ptstorm.elf $(BUILD)/guest/dirty.elf

# Linked twice: the table of function names lies behind the code, so that adding it moves no function.
$(BUILD)/umbra-nosyms.elf: $(UMBRA_OBJ) linker.ld
	$(call say,LD)
	$(Q)$(LD) $(LINK) -T linker.ld -o $@ $(UMBRA_OBJ)

$(BUILD)/symbols.S: $(BUILD)/umbra-nosyms.elf tools/symbols
	$(call say,NM)
	$(Q)$(NM) -n $< | tools/symbols > $@

$(BUILD)/symbols.o: $(BUILD)/symbols.S
	$(call say,CC)
	$(Q)$(CC) $(METAL) -c $< -o $@

$(BUILD)/umbra.elf: $(BUILD)/symbols.o $(UMBRA_OBJ) linker.ld
	$(call say,LD)
	$(Q)$(LD) $(LINK) -T linker.ld -o $@ $(UMBRA_OBJ) $(BUILD)/symbols.o

$(BUILD)/umbra.iso: $(BUILD)/umbra.elf tools/iso
	tools/iso -o $@ $<

iso: $(BUILD)/umbra.iso

# ---- guest images: 64-bit code in a multiboot1 ELF32 ----

$(BUILD)/guest/%.o: guest/images/%.c Makefile | deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(GUEST) -c $< -o $@

$(BUILD)/guest/%.o: guest/images/%.S Makefile | deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(GUEST) -c $< -o $@

$(BUILD)/guest/%.elf: $(BUILD)/guest/start.o $(BUILD)/guest/lib.o $(BUILD)/guest/%.o guest/images/image.ld
	$(call say,LD)
	$(Q)$(LD) $(LINK) -T guest/images/image.ld -o $(@:.elf=.elf64) $(filter %.o,$^)
	$(Q)$(OBJCOPY) -O elf32-i386 $(@:.elf=.elf64) $@

$(BUILD)/guest/smp_storm.elf $(BUILD)/guest/scale.elf $(BUILD)/guest/kick.elf $(BUILD)/guest/pv.elf \
	$(BUILD)/guest/signals.elf: $(BUILD)/guest/smp.o
$(BUILD)/guest/mmio.elf: $(BUILD)/guest/mmio_engine.o
$(BUILD)/guest/realmode.elf: $(BUILD)/guest/realmode_engine.o
$(BUILD)/guest/steps.elf: $(BUILD)/guest/steps_engine.o
$(BUILD)/guest/modes.elf: $(BUILD)/guest/modes_engine.o $(BUILD)/guest/modes_model.o

# ---- native: unit tests (tools/host/test_*.c) and tests with threads (tools/host/thread_*.c) ----

HOST := $(COMMON) -pthread
HOST_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_tsan := -O1 -fno-omit-frame-pointer -fsanitize=thread
HOST_plain := -O2
HOST_LIB := $(PURE) $(wildcard tools/host/host*.c) tools/host/machine.c
TRACED := $(wildcard mm/*.c) tools/host/machine.c tools/host/history.c

TEST_BIN := $(patsubst tools/host/%.c,$(BUILD)/host/asan/%,$(wildcard tools/host/test_*.c tools/host/thread_*.c))
TEST_BIN += $(patsubst tools/host/%.c,$(BUILD)/host/tsan/%,$(wildcard tools/host/thread_*.c))

comma := ,
define host_rules
$(BUILD)/host/$1/%.o: %.c Makefile | deps
	@mkdir -p $$(@D)
	$$(call say,CC)
	$$(Q)$(HOSTCC) $(HOST) $(HOST_$1) -c $$< -o $$@

$(BUILD)/host/$1/lib.a: $(HOST_LIB:%.c=$(BUILD)/host/$1/%.o)
	@rm -f $$@
	$$(call say,AR)
	$$(Q)$(HOSTAR) qcs $$@ $$^

$(BUILD)/host/$1/%: $(BUILD)/host/$1/tools/host/%.o $(BUILD)/host/$1/lib.a
	$$(call say,CC)
	$$(Q)$(HOSTCC) -pthread $(HOST_$1) $$(WRAP) $$^ $$(WITH) -lcmocka -o $$@

$(BUILD)/host/$1/test_insn_zydis $(BUILD)/host/$1/test_insn_all_zydis: WITH := -lZydis
$(BUILD)/host/$1/test_lapic_timer: WRAP := -Wl$(comma)--wrap=host_clock
$(BUILD)/host/$1/torture: WRAP := $(addprefix -Wl$(comma)--wrap=,slab_alloc slab_free chain_add_many chain_remove)
$(BUILD)/host/$1/torture: $(BUILD)/host/$1/tools/host/torture_count.o
$(BUILD)/host/$1/test_exhaustion: WRAP := $(addprefix -Wl$(comma)--wrap=,slab_alloc page_alloc page_alloc_array)

# Tests of mm/ with every store recorded.
$(BUILD)/host/$1/traced/%.o: %.c Makefile | deps
	@mkdir -p $$(@D)
	$$(call say,CC)
	$$(Q)$(HOSTCC) $(HOST) $(HOST_$1) -include tools/host/trace.h -c $$< -o $$@

$(BUILD)/host/$1/test_history $(BUILD)/host/$1/test_bounds: $(BUILD)/host/$1/test_%: \
		$(BUILD)/host/$1/traced/tools/host/test_%.o $(TRACED:%.c=$(BUILD)/host/$1/traced/%.o) $(BUILD)/host/$1/lib.a
	$$(call say,CC)
	$$(Q)$(HOSTCC) -pthread $(HOST_$1) $$^ -lcmocka -o $$@
endef
$(foreach s,asan tsan plain,$(eval $(call host_rules,$s)))

# What the image steps does natively, for the test of gdb's single steps.
$(BUILD)/steps: tools/host/steps.c Makefile | deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(HOSTCC) $(HOST) -O2 $< -lZydis -o $@

tests: $(TEST_BIN) $(BUILD)/steps $(foreach s,plain asan tsan,$(BUILD)/host/$s/torture)

# ---- native benchmarks (tools/host/bench_*.c): mm/ as it is on the metal, without park points, timed by the TSC ----

BENCH_LIB := $(wildcard mm/*.c) tools/host/host.c tools/host/host_arena.c tools/host/machine.c tools/host/bench_time.c
BENCH_WRAP := -Wl,--wrap=host_clock,--wrap=host_clock_hz,--wrap=host_relax
$(BUILD)/host/bench/tools/host/host.o: HOSTED := -fhosted

$(BUILD)/host/bench/%.o: %.c Makefile | deps-bench-host
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(HOSTCC) $(HOST) -O2 -ffreestanding $(HOSTED) -c $< -o $@

$(BUILD)/bench-pairs: $(patsubst %.c,$(BUILD)/host/bench/%.o,$(BENCH_LIB) tools/host/bench_pairs.c)
	$(call say,CC)
	$(Q)$(HOSTCC) -pthread $(BENCH_WRAP) $^ -lurcu-memb -lurcu-mb -lurcu-qsbr -lck -o $@

$(BUILD)/bench-harvest: $(patsubst %.c,$(BUILD)/host/bench/%.o,$(BENCH_LIB) tools/host/bench_locked.c \
		tools/host/bench_harvest.c)
	$(call say,CC)
	$(Q)$(HOSTCC) -pthread $(BENCH_WRAP) -Wl,--wrap=mmu_fault $^ -o $@

$(BUILD)/bench-scale: $(patsubst %.c,$(BUILD)/host/bench/%.o,$(BENCH_LIB) tools/host/bench_scale.c)
	$(call say,CC)
	$(Q)$(HOSTCC) -pthread $(BENCH_WRAP) $^ -o $@

# ---- what one does with it ----

run: all
	tools/run $(if $(ON),--on $(ON)) --timeout 240 --elf $(BUILD)/umbra.elf \
		'$(BUILD)/guest/ptstorm.elf name=a mem=64M log=wp period=50ms -- rounds=10' \
		'$(BUILD)/guest/dirty.elf name=b mem=64M log=wp period=50ms -- pages=4096 writes=2000 rounds=10'

# Without the packages only their tests fail.
check: all tests
	-tools/guests fetch --build $(BUILD) cloud-amd64 686-pae
	tools/check --build $(BUILD) $(FILTER)

check-nested: all
	tools/check-nested --build $(BUILD) $(FILTER)

check-guests: all
	tools/guests run --jobs 2 --build $(BUILD) $(FILTER)
	$(if $(FILTER),,tools/guests hostile --seconds 600 --build $(BUILD))

bench: all
	tools/bench --build $(BUILD)

# What mm/ costs natively beside malloc, liburcu, ck_epoch and a walker with a lock.
bench-host: $(BUILD)/bench-pairs $(BUILD)/bench-harvest $(BUILD)/bench-scale
	tools/bench-host --build $(BUILD)

# Random operations with real threads. SECONDS in all, shared by the builds and slab modes, but TORTURE_LEAST for each. The
# seed is printed; SEED=n gives each thread the same choices again. ThreadSanitizer of gcc 12 needs the classic address layout.
SECONDS ?= 60
SEED ?= 0
TORTURE := plain.normal plain.lifo plain.poison asan.lifo asan.poison tsan.normal tsan.lifo
TORTURE_LEAST := 4
torture: $(foreach s,plain asan tsan,$(BUILD)/host/$s/torture)
	@set -e; each=$$(($(SECONDS) / $(words $(TORTURE)))); [ $$each -ge $(TORTURE_LEAST) ] || each=$(TORTURE_LEAST); \
	for t in $(TORTURE); do \
		echo "$$t:"; setarch -R $(BUILD)/host/$${t%.*}/torture $$each $(SEED) $${t#*.}; \
	done

# The emulator and the gdb stub's protocol under AFL++, with sanitizers.
FUZZED_emulate := $(wildcard guest/insn*.c guest/emulate*.c guest/alu*.c) guest/segment.c guest/vcpu.c
FUZZED_gdb := $(filter-out guest/gdb_guest% guest/gdb_watch%,$(wildcard guest/gdb*.c)) guest/text.c guest/format.c
define fuzz_rule
$(BUILD)/fuzz_$1: tools/host/fuzz_$1.c tools/host/fuzz.h $(FUZZED_$1) $(wildcard guest/*.h) | deps-fuzz
	$$(call say,CC)
	$$(Q)AFL_QUIET=1 AFL_USE_ASAN=1 AFL_USE_UBSAN=1 afl-clang-fast -std=gnu11 -g -O2 -Wall -Wextra -I. \
		-fno-strict-aliasing tools/host/fuzz_$1.c $(FUZZED_$1) -lZydis -o $$@
endef
$(foreach f,emulate gdb,$(eval $(call fuzz_rule,$f)))

fuzz: $(BUILD)/fuzz_emulate $(BUILD)/fuzz_gdb
	tools/fuzz $(BUILD) $(SECONDS)

# Spin models of the protocols: the rules verified, the broken variants refuted.
models: | deps
	tools/model/check $(FILTER)

# Deliberately broken variants, each of which a test must catch. FILTER=word: those whose name contains it.
mutants: | deps
	tools/host/mutants $(FILTER)

lint: | deps
	tools/lint

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
