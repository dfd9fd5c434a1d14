/* hook.c - see hook.h. */
#include "sys/hook.h"

#include <stdatomic.h>

/* The argument is written before the hook is published, so that whoever sees the hook sees its argument. */
static _Atomic(cleat_sys_hook_fn) hook_set;
static void *hook_arg;

void cleat_sys_hook_set(cleat_sys_hook_fn hook, void *arg)
{
	hook_arg = arg;
	atomic_store_explicit(&hook_set, hook, memory_order_release);
}

int cleat_sys_step(const char *call, const char *what)
{
	cleat_sys_hook_fn hook = atomic_load_explicit(&hook_set, memory_order_acquire);

	return hook ? hook(call, what, hook_arg) : 0;
}
