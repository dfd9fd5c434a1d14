/* rules.h - the fault layer's rules: reading them and carrying them out.  Private to core/layers. */
#ifndef CLEAT_LAYERS_RULES_H
#define CLEAT_LAYERS_RULES_H

#include <cleat/backend.h>
#include <cleat/error.h>

/* What the rules want before a slot runs: waits, hangs or ends the process here; CLEAT_OK to go on to the
 * backend.  op may be NULL. */
enum cleat_code cleat_rules_before(const char *slot, struct cleat_op *op,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* What becomes of the backend's answer `code`: itself, or the error of a "late" rule in place of CLEAT_OK. */
enum cleat_code cleat_rules_after(const char *slot, enum cleat_code code,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
enum cleat_code cleat_rules_set(const char *rules, struct cleat_error *err) CLEAT_MUST_CHECK;

/* The lock of rules and tables; never held across a call of a backend. */
void cleat_rules_lock(void);
void cleat_rules_unlock(void);

#endif
