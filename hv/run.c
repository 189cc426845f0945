/* SPDX-License-Identifier: MIT */
#include "hv/platform.h"
#include "hv/run.h"
#include "mm/host.h"

_Noreturn void run_guests(const struct bootinfo *info)
{
	host_log(HOST_INFO, "%u modules, no guests", info->modules);
	platform_finish("PASS", 0);
}
