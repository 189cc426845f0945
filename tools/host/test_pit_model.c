/* SPDX-License-Identifier: MIT */
/* guest/pit.c beside a counter that counts: the 8254 pulse by pulse, as its data sheet describes each mode. Random counts and
 * gates come to both, and what nobody looked at must not matter. Left out is what the output shows for less than a pulse, until
 * a count is loaded, and a gate that falls in mode 4, where the sheet does not say how long a strobe is then. */
#include "tools/host/pit_test.h"

#define ROUNDS 600
#define PULSES 2000

struct model {
	unsigned mode;
	bool gate, out;
	bool armed;   /* a count has been written */
	bool running; /* … and loaded */
	bool load;    /* at the next pulse */
	unsigned written, count;
	unsigned left; /* pulses to the end of the period, or in mode 3 of the half; from 0 on down: it is over */
};

static bool model_periodic(const struct model *o)
{
	return o->mode == 2 || o->mode == 3;
}

static bool model_by_trigger(const struct model *o)
{
	return o->mode == 1 || o->mode == 5;
}

/* The next half or period begins, with what was written meanwhile. */
static void model_begin(struct model *o)
{
	o->count = o->written;
	o->left = o->mode != 3 ? o->count : o->out ? (o->count + 1) / 2 : o->count / 2;
}

static void model_pulse(struct model *o)
{
	bool counts = o->running && (o->gate || model_by_trigger(o));

	if (o->load) {
		o->load = false;
		o->running = true;
		o->out = o->mode >= 2;
		model_begin(o);
		return;
	}
	if (!counts || !(o->left || model_periodic(o) || o->mode >= 4))
		return;
	o->left--;
	switch (o->mode) {
	case 0:
	case 1:
		o->out = !o->left;
		break;
	case 2:
		o->out = o->left != 1;
		if (!o->left)
			model_begin(o);
		break;
	case 3:
		if (!o->left) {
			o->out = !o->out;
			model_begin(o);
		}
		break;
	default:
		o->out = o->left;
		o->running = o->left <= o->count; /* one pulse later it has gone below 0 */
		break;
	}
}

static void model_count(struct model *o, unsigned count)
{
	o->written = count;
	if (!model_by_trigger(o) && !(model_periodic(o) && o->running && !o->load))
		o->load = true;
	if (o->mode == 0)
		o->out = o->running = false;
	o->armed = true;
}

static void model_gate(struct model *o, bool gate)
{
	if (gate && !o->gate && o->armed && (model_by_trigger(o) || model_periodic(o)))
		o->load = true;
	if (!gate && model_periodic(o))
		o->out = true;
	o->gate = gate;
}

static void the_output_is_that_of_a_counter(void **state)
{
	uint64_t seed = 17;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct model o = {.mode = i % 6, .out = i % 6 != 0, .gate = i / 6 % 2};
		struct machine m;

		set_up(&m);
		out(&m, PIT_SPEAKER_PORT, o.gate, 9);
		out(&m, PIT_PORT + 3, (uint8_t)MODE(2, o.mode), 10);
		for (uint64_t t = 10; t < 10 + PULSES; t++) {
			uint64_t r = host_random(&seed);

			if (r % 61 == 0) {
				set_count(&m, 2, 2 + (r >> 32) % 40, t);
				model_count(&o, 2 + (r >> 32) % 40);
			}
			if ((r >> 8) % 61 == 0 && !(o.mode == 4 && o.gate)) {
				out(&m, PIT_SPEAKER_PORT, !o.gate, t);
				model_gate(&o, !o.gate);
			}
			if ((r >> 16) % 8 && !(o.load && o.mode != 0))
				assert_int_equal(speaker_out(&m, t), o.out);
			model_pulse(&o);
		}
	}
}

/* Channel 0: every edge is there, and pit_tick() says when the next will be. */
static void the_edges_are_those_of_a_counter(void **state)
{
	uint64_t seed = 23;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct model o = {.mode = 2 + i % 2, .gate = true, .out = true};
		uint64_t edges = 0, next = 0, soonest = 0;
		struct machine m;

		start(&m, o.mode, 200);
		model_count(&o, 200);
		for (uint64_t t = 10; t < 10 + PULSES; t++) {
			uint64_t r = host_random(&seed);
			bool was = o.out, look = r % 97 == 0;

			if (look) {
				set_count(&m, 0, 100 + (r >> 32) % 300, t);
				model_count(&o, 100 + (r >> 32) % 300);
			}
			if (look || (next && at(t) >= next)) {
				next = pit_tick(&m.pit, at(t));
				soonest = at(t) + 50000;
				assert_int_equal(m.pit.edges, edges);
			}
			model_pulse(&o);
			if (o.out && !was) {
				edges++;
				assert_true(!next || next == at(t + 1) || next == soonest);
			} else {
				assert_true(next != at(t + 1) || next == soonest);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_output_is_that_of_a_counter),
		cmocka_unit_test(the_edges_are_those_of_a_counter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
