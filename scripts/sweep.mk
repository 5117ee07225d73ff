# Sweeps as files, for a nightly or a cluster of plans: run it with `make -f scripts/sweep.mk`, or include it.
#
#   make -f scripts/sweep.mk PLANS='nightly/*.yaml' report            every report
#   make -f scripts/sweep.mk PLANS='nightly/*.yaml' -j4 -k report     go on with the other plans if one fails
#   make -f scripts/sweep.mk PLANS='nightly/*.yaml' BASELINE=last regression
#
# Targets: validate, candidates, raw, results, report, regression; and each file by itself, such as results/NAME/report.md. NAME is
# the plan's file name without .yaml. Each file is whole or absent: a sweep that was stopped goes on where it was, and `raw` is made
# once it is complete. Sweeps on the same GPUs wait for each other, also with -j.

# Plan files or patterns.
PLANS ?= plans/*.yaml
# Where the folders of sweeps are.
OUT ?= results
# Earlier folders of the same plans, for `regression`.
BASELINE ?=
# More options of bench-sweep: --fit 2h, --client-cpus 0-1.
SWEEPFLAGS ?=
# Options of bench-validate, such as --help-dir help.
VALIDATEFLAGS ?=
# Options of bench-rank.
RANKFLAGS ?=
# One lock for each set of GPUs of this host and user.
LOCKS ?= $(or $(XDG_RUNTIME_DIR),$(TMPDIR),/tmp)

sweep.plans := $(wildcard $(PLANS))
sweep.names := $(basename $(notdir $(sweep.plans)))
sweep.of = $(addprefix $(OUT)/,$(addsuffix /$(1),$(sweep.names)))

ifeq ($(sweep.plans),)
$(error no plan matches PLANS=$(PLANS))
endif
ifneq ($(words $(sort $(sweep.names))),$(words $(sweep.names)))
$(error two plans have one name, and would share a folder: $(sweep.plans))
endif

.PHONY: validate candidates raw results report regression
report: $(call sweep.of,report.md)
validate: $(call sweep.of,plan.jsonl)
candidates: $(call sweep.of,candidates.jsonl)
raw: $(call sweep.of,raw.complete)
results: $(call sweep.of,results.jsonl)
regression: $(addprefix sweep.regression/,$(sweep.names))

.DELETE_ON_ERROR:

# The GPUs that a plan names; plans that name none take the first ones.
sweep.gpus = $$(sed -n 's/.*"visible_devices":"\([^"]*\)".*/\1/p' $(1) | tr -c '0-9A-Za-z\n' - | head -n 1)
# Lines of parallel sweeps begin with the name of the plan.
sweep.prefix = 2> >(sed -u 's/^/[$(1)] /' >&2) | sed -u 's/^/[$(1)] /'

define sweep.rules
$(OUT)/$(1)/plan.jsonl: $(2)
	@mkdir -p $$(@D)
	bench-validate --quiet --format jsonl $$(VALIDATEFLAGS) --output $$@ $$<

$(OUT)/$(1)/candidates.jsonl: $(OUT)/$(1)/plan.jsonl
	bench-expand --quiet --stage plain --fit none --accept-long-run --output $$@ $$<

$(OUT)/$(1)/raw.complete: SHELL := bash
$(OUT)/$(1)/raw.complete: .SHELLFLAGS := -o pipefail -c
$(OUT)/$(1)/raw.complete: $(2) | $(OUT)/$(1)/plan.jsonl
	{ flock "$$(LOCKS)/bench-sweep-gpus-$$(call sweep.gpus,$(OUT)/$(1)/plan.jsonl).lock" \
	  bench-sweep $$(SWEEPFLAGS) --out $$(@D) $$< || test $$$$? = 4; } $$(call sweep.prefix,$(1))
	@test ! -e $$(@D)/stop || { echo "$$(@D): stopped; make it again to resume" >&2; false; }
	@touch $$@

$(OUT)/$(1)/results.jsonl: $(OUT)/$(1)/raw.complete
	bench-normalize --quiet --output $$@ $$(@D)/raw/*.jsonl

# Status 1 says that no candidate meets the SLA: the report is complete.
$(OUT)/$(1)/report.md: $(OUT)/$(1)/results.jsonl
	bench-rank --quiet $$(RANKFLAGS) --output $$@ $$< || test $$$$? = 1

.PHONY: sweep.regression/$(1)
sweep.regression/$(1): $(OUT)/$(1)/results.jsonl
	bench-rank --quiet $$(RANKFLAGS) --output $(OUT)/$(1)/regression.md --baseline $$(BASELINE)/$(1)/results.jsonl $$<
endef
$(foreach plan,$(sweep.plans),$(eval $(call sweep.rules,$(basename $(notdir $(plan))),$(plan))))
