# SPDX-License-Identifier: LGPL-2.1-or-later
# The short words for what people do here; meson does the work. `make help` lists them.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
TIME ?= 60

# Warnings count in the release build alone: what the sanitizers add to the code makes gcc see ghosts.
strict := $(if $(CI),-Dwerror=true)
# Sanitizers want their shadow where a randomised address space may have put something else; some containers
# forbid this.
steady := $(shell setarch -R true 2>/dev/null && echo "--wrapper 'setarch -R'")
sanitized := -Dbuildtype=debugoptimized -Db_lundef=false
run_tests = meson test --print-errorlogs --num-processes 2 -C

# setup DIR,OPTIONS: make a build directory if need be. The log of an earlier run must not be taken for this
# one's. What a test needs is built when it runs.
define setup
	@rm -f $(1)/meson-logs/testlog*.json
	@[ -f $(1)/build.ninja ] || meson setup $(1) --prefix $(PREFIX) $(2)
endef

.PHONY: all deps test-deps run run-stop test test-release test-proof test-asan test-tsan bench \
	soak-deps soak fuzz-deps fuzz fuzz-merge coverage install clean help

all:                ## release build into build/
	$(call setup,$(BUILD),$(strict))
	@meson compile -C $(BUILD)

deps:               ## install the packages a build needs (sudo unless root)
	@tools/install-packages packaging/packages.build

test-deps:          ## install the packages the tests need as well
	@tools/install-packages packaging/packages.build packaging/packages.test

run: test-deps all  ## show what it does, on a real directory tree
	@tools/demo.sh $(BUILD)

run-stop:           ## end the ploopd that make run left running
	@mkdir -p $(BUILD)/demo
	@cd $(BUILD)/demo && PLOOPD=$(abspath $(BUILD))/src/daemon/ploopd bash $(abspath tools)/demo-daemon.sh stop

test: test-deps     ## the whole suite: release, crashes and faults, ASan and UBSan, TSan
	@$(MAKE) --no-print-directory --keep-going test-release test-proof test-asan test-tsan; \
	tools/summary $(BUILD) build-proof build-asan build-tsan

test-release: all   ## all tests, release build
	@$(run_tests) $(BUILD) --no-suite bench --no-suite soak --no-suite fault

test-proof:         ## crashes and faults, in a build that has seeded mistakes to find
	$(call setup,build-proof,-Dseeded=true)
	@$(run_tests) build-proof --suite fault

test-asan:          ## unit and command tests, and ploopd's clients, under AddressSanitizer and UBSan
	$(call setup,build-asan,$(sanitized) -Db_sanitize=address$(comma)undefined)
	@$(run_tests) build-asan $(steady) --suite unit --suite cli --suite clients --suite services

test-tsan:          ## threaded tests and ploopd's clients under ThreadSanitizer
	$(call setup,build-tsan,$(sanitized) -Db_sanitize=thread)
	@G_SLICE=always-malloc TSAN_OPTIONS=suppressions=$(abspath tests/lib/tsan-suppressions) \
		$(run_tests) build-tsan $(steady) --suite threads --suite clients # slices pass between threads unseen

bench: test-deps all ## figures, side by side with what they are compared with
	@meson test --benchmark --no-rebuild --verbose --num-processes 1 -C $(BUILD)

soak-deps:          ## install the packages `make soak` uses as well
	@tools/install-packages packaging/packages.build packaging/packages.test packaging/packages.soak

soak: test-deps all ## what takes longer than `make test` may
	@$(run_tests) $(BUILD) --suite soak --timeout-multiplier 20

coverage: test-deps ## what the tests run of format, io, image and disk, and what they do not
	$(call setup,build-coverage,-Dbuildtype=debug -Doptimization=1 -Db_coverage=true -Db_ndebug=true)
	@find build-coverage -name '*.gcda' -delete
	@$(run_tests) build-coverage --no-suite bench --no-suite soak --no-suite power --no-suite harsh \
	--timeout-multiplier 5
	@tools/coverage build-coverage docs/coverage.md

fuzz-deps:          ## install what the fuzz targets need
	@tools/install-packages packaging/packages.build packaging/packages.fuzz

fuzz: fuzz-deps     ## TIME=60 seconds of every fuzz target; what is found lies in build-fuzz/findings
	@[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz $(sanitized) -Db_sanitize=address$(comma)undefined \
		-Doptimization=2 -Dfuzz=true
	@meson compile -C build-fuzz fuzzers
	@tools/fuzz run build-fuzz $(TIME)

fuzz-merge:         ## keep what fuzzing has found to be new, in tests/fuzz/corpus
	@tools/fuzz merge build-fuzz

install: all        ## PREFIX=/usr/local DESTDIR=
	@meson configure $(BUILD) --prefix $(PREFIX)
	@DESTDIR=$(abspath $(DESTDIR)) meson install -C $(BUILD)

clean:              ## remove all build directories
	rm -rf $(BUILD) build-asan build-tsan build-proof build-coverage build-fuzz

help:
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

comma := ,
