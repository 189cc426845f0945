/* SPDX-License-Identifier: MIT */
/* Addresses. Each address space is a type of its own, so that mixing two of them does not compile.
 *
 *   gva  guest-virtual address, bytes        gfn  guest frame number = gpa / 4096
 *   gpa  guest-physical address, bytes       hfn  host frame number  = hpa / 4096
 *   hpa  host-physical address, bytes
 */
#ifndef MM_ADDR_H
#define MM_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL

typedef struct { uint64_t v; } gva_t;
typedef struct { uint64_t v; } gpa_t;
typedef struct { uint64_t v; } hpa_t;
typedef struct { uint64_t v; } gfn_t;
typedef struct { uint64_t v; } hfn_t;

static inline gva_t gva(uint64_t v) { return (gva_t){v}; }
static inline gpa_t gpa(uint64_t v) { return (gpa_t){v}; }
static inline hpa_t hpa(uint64_t v) { return (hpa_t){v}; }
static inline gfn_t gfn(uint64_t v) { return (gfn_t){v}; }
static inline hfn_t hfn(uint64_t v) { return (hfn_t){v}; }

static inline gfn_t gpa_gfn(gpa_t a) { return gfn(a.v >> PAGE_SHIFT); }
static inline gpa_t gfn_gpa(gfn_t f) { return gpa(f.v << PAGE_SHIFT); }
static inline hfn_t hpa_hfn(hpa_t a) { return hfn(a.v >> PAGE_SHIFT); }
static inline hpa_t hfn_hpa(hfn_t f) { return hpa(f.v << PAGE_SHIFT); }

/* "No frame": allocation failures return it. */
#define HFN_NONE ((hfn_t){~0UL})
static inline bool hfn_valid(hfn_t f) { return f.v != ~0UL; }

#endif
