/* SPDX-License-Identifier: MIT */
/* guest/config.c: what a naming string may say, and what its errors say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/config.h"
#include "tools/host/native.h"

static struct config config;
static char error[CONFIG_ERROR];

static void good(const char *string)
{
	if (!config_parse(&config, string, error))
		fail_msg("'%s': %s", string, error);
	assert_string_equal(error, "");
}

/* The string is refused, and the error holds each of the words (separated by '|'). */
static void bad(const char *string, const char *words)
{
	char copy[256];

	if (config_parse(&config, string, error))
		fail_msg("'%s' was accepted", string);
	snprintf(copy, sizeof copy, "%s", words);
	for (char *w = strtok(copy, "|"); w; w = strtok(0, "|"))
		if (!strstr(error, w))
			fail_msg("'%s': '%s' lacks '%s'", string, error, w);
}

static void an_empty_string_is_the_default_guest(void **state)
{
	(void)state;
	good("");
	assert_int_equal(config.role, CONFIG_GUEST);
	assert_string_equal(config.name, "");
	assert_int_equal(config.mem, 64 << 20);
	assert_int_equal(config.vcpus, 1);
	assert_int_equal(config.cpus, 0);
	assert_int_equal(config.log, CONFIG_LOG_OFF);
	assert_int_equal(config.period_us, 10000);
	assert_int_equal(config.limit_us, 0);
	assert_string_equal(config.until, "");
	assert_int_equal(config.shadow, 0);
	assert_int_equal(config.pv, CONFIG_PV_ALL);
	assert_string_equal(config.command_line, "");
}

static void every_key_at_once(void **state)
{
	(void)state;
	good("name=a-B_9 mem=128M vcpus=1 cpus=1,2 log=wp period=5ms limit=30s until=done shadow=4096 -- x=1 -- y");
	assert_string_equal(config.name, "a-B_9");
	assert_int_equal(config.mem, 128 << 20);
	assert_true(config.cpus == 2 && config.cpu[0] == 1 && config.cpu[1] == 2);
	assert_int_equal(config.log, CONFIG_LOG_WP);
	assert_int_equal(config.period_us, 5000);
	assert_int_equal(config.limit_us, 30000000);
	assert_string_equal(config.until, "done");
	assert_int_equal(config.shadow, 4096);
	assert_string_equal(config.command_line, "x=1 -- y");
}

static void the_command_line_is_kept_as_it_is(void **state)
{
	(void)state;
	good("name=a --   \"two words\" name=b  \\x ");
	assert_string_equal(config.command_line, "\"two words\" name=b  \\x ");
	good("--");
	assert_string_equal(config.command_line, "");
	good("name=x\t--\n");
	assert_string_equal(config.command_line, "");
}

static void a_leading_path_is_ignored(void **state)
{
	(void)state;
	good("/boot/stress.elf name=a");
	assert_string_equal(config.name, "a");
	good("(hd0)/x.elf");
	bad("name=a /boot/stress.elf", "unknown key|/boot/stress.elf");
	bad("stress.elf name=a", "unknown key in 'stress.elf'");
}

static void sizes(void **state)
{
	static const struct {
		const char *string;
		uint64_t bytes;
	} cases[] = {
		{"mem=2M", 2UL << 20},
		{"mem=2048k", 2UL << 20},
		{"mem=67108864", 64UL << 20},
		{"mem=6g", 6UL << 30},
		{"mem=1T", 1UL << 40},
		{"mem=2052K", 2052UL << 10},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		good(cases[i].string);
		assert_int_equal(config.mem, cases[i].bytes);
	}
}

static void bad_sizes(void **state)
{
	static const char *const cases[] = {"mem=", "mem", "mem=M", "mem=1M", "mem=2T", "mem=64Q", "mem=64MB",
		"mem=-64M", "mem=0x4000000", "mem=2050k1", "mem=2097153", "mem=99999999999999999999G",
		"mem=18446744073709551616", "mem=999999999999999T", "mem=64 M"};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
		bad(cases[i], "mem|expected a size like 64M");
}

static void times(void **state)
{
	(void)state;
	good("period=100us");
	assert_int_equal(config.period_us, 100);
	good("period=2s limit=5");
	assert_int_equal(config.period_us, 2000000);
	assert_int_equal(config.limit_us, 5000000);
	good("limit=250ms");
	assert_int_equal(config.limit_us, 250000);
	bad("period=10", "period=10: expected a time like 10ms");
	bad("period=99us", "period=99us|100us");
	bad("period=61s", "period");
	bad("limit=0", "limit=0");
	bad("limit=31000000s", "limit");
	bad("limit=10 s", "unknown key in 's'");
	bad("limit=999999999999999s", "limit");
}

static void cpu_lists(void **state)
{
	(void)state;
	good("cpus=0,255,7");
	assert_true(config.cpus == 3 && config.cpu[1] == 255);
	good("cpus=1,2,3,4,5,6,7,8");
	bad("cpus=1,2,3,4,5,6,7,8,9", "cpus|up to 8");
	bad("cpus=256", "cpus=256");
	bad("cpus=1,1", "cpus=1,1|different");
	bad("cpus=1,", "cpus=1,");
	bad("cpus=,1", "cpus");
	bad("cpus=1;2", "cpus");
	bad("cpus=", "cpus");
}

static void one_to_eight_vcpus(void **state)
{
	(void)state;
	good("vcpus=1 log=off");
	assert_int_equal(config.vcpus, 1);
	good("vcpus=8");
	assert_int_equal(config.vcpus, 8);
}

static void each_way_to_log_has_its_name(void **state)
{
	char text[16];

	(void)state;
	for (unsigned i = 0; i < CONFIG_LOGS; i++) {
		snprintf(text, sizeof text, "log=%s", config_log_names[i]);
		good(text);
		assert_int_equal(config.log, i);
	}
}

static void malformed_values_name_their_key(void **state)
{
	(void)state;
	bad("vcpus=0", "vcpus=0: expected");
	bad("vcpus=9", "vcpus=9: expected");
	bad("log=on", "log=on|off, wp, dbit or auto");
	bad("shadow=63", "shadow=63|64");
	bad("shadow=16777217", "shadow");
	bad("shadow=127 vcpus=2", "shadow=127: expected at least 64 for each of 2 vCPUs");
	good("shadow=128 vcpus=2");
	bad("shadow=1k", "shadow");
	bad("name=", "name=|letters");
	bad("name", "name: expected");
	bad("name=a.b", "name=a.b|letters");
	bad("name=12345678901234567890123456789012", "name|1 to 31");
	bad("until=", "until");
}

static void parts_of_the_paravirtual_interface(void **state)
{
	(void)state;
	good("pv=off");
	assert_int_equal(config.pv, 0);
	good("pv=eoi");
	assert_int_equal(config.pv, CONFIG_PV_EOI);
	good("pv=ipi,clock");
	assert_int_equal(config.pv, CONFIG_PV_IPI | CONFIG_PV_CLOCK);
	good("pv=tlb,steal");
	assert_int_equal(config.pv, CONFIG_PV_TLB | CONFIG_PV_STEAL);
	good("pv=clock,eoi,tlb,ipi,steal");
	assert_int_equal(config.pv, CONFIG_PV_ALL);
	bad("pv=tlb", "pv=tlb|off, or a list of clock, eoi, steal, tlb and ipi|tlb only with steal");
	bad("pv=", "pv=");
	bad("pv=on", "pv=on");
	bad("pv=off,eoi", "pv=off,eoi");
	bad("pv=eoi,", "pv=eoi,");
	bad("pv=eoi,eoi", "pv=eoi,eoi");
	bad("pv=eoix", "pv=eoix");
	bad("pv=eo", "pv=eo");
}

static void unknown_keys_list_the_accepted_ones(void **state)
{
	(void)state;
	bad("mme=64M", "mme=64M|name, mem, vcpus, cpus, log, period, limit, until, shadow, pv, initrd-of, module-of");
	bad("Name=a", "unknown key");
	bad("=a", "unknown key");
	bad("nam=a", "unknown key");
	bad("names=a", "unknown key");
	bad("initrd=x", "unknown key in 'initrd=x'");
}

static void a_key_may_stand_once(void **state)
{
	(void)state;
	bad("name=a name=a", "name= is there twice");
	bad("mem=64M log=wp mem=64M", "mem= is there twice");
}

static void roles(void **state)
{
	(void)state;
	good("initrd-of=a");
	assert_int_equal(config.role, CONFIG_INITRD);
	assert_string_equal(config.of, "a");
	good("/boot/env.txt module-of=b2 -- its own string");
	assert_int_equal(config.role, CONFIG_MODULE);
	assert_string_equal(config.of, "b2");
	assert_string_equal(config.command_line, "its own string");
	bad("initrd-of=a module-of=a", "initrd-of= and module-of=");
	bad("initrd-of=a mem=64M", "initrd-of= takes no other key");
	bad("name=x module-of=a", "module-of= takes no other key");
	bad("initrd-of=", "initrd-of|guest's name");
}

static void quoted_text(void **state)
{
	(void)state;
	good("until=\"all is done\" name=a");
	assert_string_equal(config.until, "all is done");
	assert_string_equal(config.name, "a");
	/* As a boot loader passes it on: the word quoted, the quotes within escaped. */
	good("\"until=\\\"all is done\\\"\" name=a");
	assert_string_equal(config.until, "all is done");
	good("\"until=all is done\"");
	assert_string_equal(config.until, "all is done");
	good("until=it\\'s\\ a\\\\b");
	assert_string_equal(config.until, "it's a\\b");
	good("until=\"a -- b\" -- c");
	assert_string_equal(config.until, "a -- b");
	assert_string_equal(config.command_line, "c");
	bad("name=a until=\"all is", "quotes are not closed");
	bad("until=\"\"", "until");
}

static void long_words_and_lines(void **state)
{
	char s[2000];

	(void)state;
	memset(s, 'x', sizeof s);
	s[sizeof s - 1] = 0;
	bad(s, "a word of more than 255 bytes");
	memcpy(s, "until=", 6);
	s[6 + CONFIG_UNTIL - 1] = 0;
	good(s);
	s[6 + CONFIG_UNTIL - 1] = 'x';
	s[6 + CONFIG_UNTIL] = 0;
	bad(s, "until=|1 to 127 bytes");
	memset(s, 'y', sizeof s);
	memcpy(s, "-- ", 3);
	s[3 + CONFIG_COMMAND_LINE - 1] = 0;
	good(s);
	assert_int_equal(strlen(config.command_line), CONFIG_COMMAND_LINE - 1);
	s[3 + CONFIG_COMMAND_LINE - 1] = 'y';
	s[3 + CONFIG_COMMAND_LINE] = 0;
	bad(s, "command line|1023 bytes");
}

static void an_error_is_one_printable_line(void **state)
{
	(void)state;
	bad("\"na\nme=\x01\xff\"", "na?me=??");
}

static void a_name_read_before_an_error_is_known(void **state)
{
	(void)state;
	bad("name=a mem=1", "mem=1");
	assert_string_equal(config.name, "a");
}

static void random_strings(void **state)
{
	static const char *const pieces[] = {"name=", "mem=", "cpus=", "until=", "log=wp", "64M", ",", "\"", "\\", " ",
		"--", "initrd-of=", "a", "9", "/", "=", "\n", "period=", "limit=", "s", "\xff"};
	uint64_t seed = 21;
	unsigned accepted = 0;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		char s[400] = "";

		for (unsigned n = (unsigned)(host_random(&seed) % 30); n; n--)
			strcat(s, pieces[host_random(&seed) % (sizeof pieces / sizeof *pieces)]);
		if (config_parse(&config, s, error))
			accepted++;
		else
			assert_true(error[0]);
	}
	assert_true(accepted > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_string_is_the_default_guest),
		cmocka_unit_test(every_key_at_once),
		cmocka_unit_test(the_command_line_is_kept_as_it_is),
		cmocka_unit_test(a_leading_path_is_ignored),
		cmocka_unit_test(sizes),
		cmocka_unit_test(bad_sizes),
		cmocka_unit_test(times),
		cmocka_unit_test(cpu_lists),
		cmocka_unit_test(one_to_eight_vcpus),
		cmocka_unit_test(each_way_to_log_has_its_name),
		cmocka_unit_test(malformed_values_name_their_key),
		cmocka_unit_test(parts_of_the_paravirtual_interface),
		cmocka_unit_test(unknown_keys_list_the_accepted_ones),
		cmocka_unit_test(a_key_may_stand_once),
		cmocka_unit_test(roles),
		cmocka_unit_test(quoted_text),
		cmocka_unit_test(long_words_and_lines),
		cmocka_unit_test(an_error_is_one_printable_line),
		cmocka_unit_test(a_name_read_before_an_error_is_known),
		cmocka_unit_test(random_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
