/* SPDX-License-Identifier: MIT */
/* See hv/builtin.h. Two guests and their replicas fit a machine of 128 MiB. */

	.section .rodata, "a"
	.balign 8
	.globl builtins
builtins:
	.quad 1f, 2f, 3f
	.quad 4f, 5f, 6f
1:	.asciz "name=a mem=24M log=wp"
4:	.asciz "name=b mem=24M log=wp"
	.balign 8
2:	.incbin "guest/ptstorm.elf"
3:	.balign 8
5:	.incbin "guest/dirty.elf"
6:

	.section .note.GNU-stack, "", @progbits
