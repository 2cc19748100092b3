# tsbox. `make help` lists what there is; the lines with two number signs are that list.
SHELL := /bin/sh
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

PREFIX ?= /usr/local
# For make run: another image, another command.
export IMAGE CMD MAKE
# For make soak.
TSBOX_FUZZ_CASES ?= 200000
TSBOX_KILLS ?= 2000
TSBOX_LOAD_SECONDS ?= 300
# dot prints a character a test, spec a line; a skipped test and its reason are printed by spec only.
REPORTER ?= spec

# Node's own choice is one less: of two processors one would idle.
processors := $(shell nproc)
side_by_side := --no-print-directory --jobs=$(processors) --output-sync
# A Node for each file of unit tests would take as much time to start as all the tests take to run; one for each processor would wait for
# the one with the slowest files. Neighbours by name, which are alike, go to different ones.
shard_count := $(shell expr 2 \* $(processors))
shards := $(addprefix unit-,$(shell seq $(shard_count)))
unit_files := $(shell find test/unit -name '*.test.ts' | sort)
shard_files = $(shell printf '%s\n' $(unit_files) | awk 'NR % $(shard_count) == $* % $(shard_count)')
# Many small files take a fifth less time in memory. Some tests need user.* attributes there, which tmpfs has since Linux 6.6.
unit_tmp := $(shell printf '6.6\n%s\n' "$$(uname -r)" | sort -VC && test "$$(df --output=avail /dev/shm | tail -n 1)" -gt 1048576 && echo /dev/shm)
machine := $(shell uname -m)
arch := $(if $(filter x86_64,$(machine)),x64,$(if $(filter aarch64,$(machine)),arm64,$(error tsbox runs on x86_64 and aarch64, not on $(machine))))
NODE := node_modules/node-linux-$(arch)/bin/node
# A Node for each file of tests, and for many a test besides, reads the same TypeScript: what one has compiled the next ones find, which
# is half of the time that each takes to start. Only tests have it: bench-* measure what tsbox takes without (test/system/harness.ts).
TESTS := NODE_COMPILE_CACHE=$(CURDIR)/node_modules/.cache/node-compile $(NODE) --test
fixtures := rootfs-fixtures
built := $(fixtures)/build
node_modules := node_modules/.package-lock.json
sources := $(shell find src scripts -name '*.ts') package.json

.PHONY: $(shards) help run build native check types lint test unit fuzz system conformance rootless vm fixtures bench bench-start bench-life bench-lists bench-network bench-images bench-union soak install clean setup-image setup-test

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: ## build what is missing, get an image, and start a shell in a container (IMAGE=.., CMD=..)
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory build
	@scripts/first-run.sh

build: $(node_modules) native dist/main.js ## npm dependencies, the native executor, the bundle

check: $(node_modules) native ## types, lint and fast unit tests
	@TSBOX_FUZZ_CASES=$${TSBOX_FUZZ_CASES:-100} $(MAKE) $(side_by_side) REPORTER=dot $(shards) types lint

types: $(node_modules)
	@node_modules/.bin/tsc -p . --incremental --tsBuildInfoFile node_modules/.cache/tsbuildinfo

lint: $(node_modules)
	@node_modules/.bin/biome check --error-on-warnings

test: ## everything: check, the executor's own tests, fixtures, tests with real containers here and in a virtual machine
	@scripts/setup.sh build image test
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory --silent -C native-bindings check valgrind
	@$(MAKE) --no-print-directory fixtures
	@$(MAKE) --no-print-directory system
	@$(MAKE) --no-print-directory conformance
	@$(MAKE) --no-print-directory rootless
	@$(MAKE) --no-print-directory vm

unit: $(node_modules) native ## tests that need no privilege
	@$(MAKE) $(side_by_side) $(shards)

$(shards): unit-%:
	@TMPDIR=$(or $(unit_tmp),$${TMPDIR:-/tmp}) $(TESTS) --test-isolation=none --test-reporter=$(REPORTER) $(shard_files)

fuzz: build ## 10,000 mutated layers (TSBOX_FUZZ_CASES=.., TSBOX_FUZZ_SEED=..)
	@$(TESTS) --test-reporter=$(REPORTER) --test-concurrency=$(processors) 'test/unit/**/*fuzz*.test.ts'

system: build fixtures ## tests with real containers; needs root
	@$(TESTS) --test-reporter=$(REPORTER) --test-concurrency=2 'test/system/**/*.test.ts'

conformance: build fixtures ## the same tests for every storage driver; needs root
	@$(TESTS) --test-reporter=$(REPORTER) --test-concurrency=2 'test/conformance/*.test.ts'

# Without a kernel there is no machine, and the tests say so.
vm: build fixtures setup-test ## tests on a second kernel with cgroup version 2, in a virtual machine; needs root
	@test/vm/build.sh || [ "$$TSBOX_MUST_RUN" != 1 ]
	@$(TESTS) --test-reporter=$(REPORTER) 'test/vm/*.test.ts'
	@REPORTER=$(REPORTER) $(NODE) test/vm/test.ts test/vm/inside/*.test.ts

rootless: build fixtures ## tests as an ordinary user, whom they make and remove; needs root
	@$(TESTS) --test-reporter=$(REPORTER) --test-concurrency=1 'test/rootless/**/*.test.ts'

fixtures: $(addprefix $(built)/,busybox.tar debian.tar layers.tar many-layers.tar) ## the images that tests and make run use

bench: ## all measurements beside docker, podman, runc and tar
	@$(MAKE) --no-print-directory bench-start
	@$(MAKE) --no-print-directory bench-life
	@$(MAKE) --no-print-directory bench-lists
	@$(MAKE) --no-print-directory bench-network
	@$(MAKE) --no-print-directory bench-images
	@$(MAKE) --no-print-directory bench-union

bench-life: build $(built)/busybox.tar ## exec, start, stop, many containers, logs, the monitor's memory (RUNS=10 ONLY='stop')
	@$(NODE) bench/life.ts $(or $(RUNS),10) $(ONLY)

bench-start: build $(built)/busybox.tar ## start to exit of `true` in a container (RUNS=30)
	@$(NODE) bench/run.ts $(or $(RUNS),30)

bench-lists: build $(built)/busybox.tar ## ps and images of 1,000 (RUNS=15 MANY=1000)
	@$(NODE) bench/lists.ts $(or $(RUNS),15) $(or $(MANY),1000)

bench-network: build $(built)/busybox.tar ## what a network costs a start, and iperf3 between containers and to a published port (RUNS=30 ROUNDS=5)
	@$(NODE) bench/network.ts $(or $(RUNS),30) $(or $(ROUNDS),5)

bench-images: build $(built)/busybox.tar ## pull, load, save, push, commit (RUNS=3 ONLY='pull tmpfs')
	@$(NODE) bench/images.ts $(or $(RUNS),3) $(ONLY)

bench-union: build ## the union from user space beside fuse-overlayfs and the kernel's overlay (RUNS=3)
	@$(NODE) bench/union.ts $(or $(RUNS),3)

soak: build ## fuzzing for as long as TSBOX_FUZZ_CASES says; TSBOX_KILLS kills of what changes images, containers and networks, TSBOX_LOAD_SECONDS of verbs by chance on 200 containers; 100 of them in a network at once; 1,000 seeds of the union, and of copies of layers, beside the kernel, a tenth of all calls on all kinds of files, 60 kills, a directory of 100,000 names, load for TSBOX_LOAD_SECONDS (needs root)
	@TSBOX_FUZZ_CASES=$(TSBOX_FUZZ_CASES) $(TESTS) --test-reporter=$(REPORTER) --test-concurrency=$(processors) 'test/unit/**/*fuzz*.test.ts'
	@TSBOX_KILLS=$(TSBOX_KILLS) $(TESTS) --test-reporter=$(REPORTER) test/system/images-faults.test.ts test/system/containers-kills.test.ts test/system/network-kills.test.ts
	@TSBOX_SOAK=1 $(TESTS) --test-reporter=$(REPORTER) test/system/containers-forks.test.ts test/system/containers-descriptors.test.ts test/system/containers-faults.test.ts
	@$(MAKE) --no-print-directory --silent -C native-bindings valgrind CASES=50
	@TSBOX_UNION_SEEDS=1000 TSBOX_VFS_SEEDS=1000 $(TESTS) --test-reporter=$(REPORTER) test/system/union.test.ts test/system/vfs-trees.test.ts
	@TSBOX_UNION_SEEDS=500 TSBOX_UNION_SHARE=20 TSBOX_UNION_KILLS=60 $(TESTS) --test-reporter=$(REPORTER) test/system/union-writeback.test.ts
	@TSBOX_UNION_SHARE=10 TSBOX_UNION_LOAD='64 3000 $(TSBOX_LOAD_SECONDS)' TSBOX_UNION_KILLS=60 TSBOX_UNION_NAMES=100000 $(TESTS) --test-reporter=$(REPORTER) test/system/union-hard.test.ts
	@TSBOX_UNION_KILLS=60 $(TESTS) --test-reporter=$(REPORTER) --test-name-pattern='whatever is killed' test/rootless/fuse.test.ts
	@TSBOX_LOAD_CONTAINERS=200 TSBOX_LOAD_PROCESSES=20 TSBOX_LOAD_SECONDS=$(TSBOX_LOAD_SECONDS) $(TESTS) --test-reporter=$(REPORTER) test/system/containers-load.test.ts
	@TSBOX_NETWORK_CONTAINERS=100 $(TESTS) --test-reporter=$(REPORTER) --test-name-pattern='many at once' test/system/network-bridge.test.ts

install: build ## copy it to PREFIX (/usr/local)
	@scripts/install.sh '$(DESTDIR)$(PREFIX)' '$(PREFIX)'

clean: ## remove what was built; images and containers stay
	@$(MAKE) --no-print-directory -C native-bindings clean
	rm -rf dist $(built) test/vm/build

$(node_modules): package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

native:
	@$(MAKE) --no-print-directory --silent -C native-bindings

dist/main.js: $(sources) $(node_modules)
	@$(NODE) scripts/build.ts

$(built)/busybox.tar: $(fixtures)/busybox.sh | setup-image
	$(fixtures)/build.sh busybox

$(built)/debian.tar: $(fixtures)/debian.sh | setup-image
	$(fixtures)/build.sh debian

recipes := $(addprefix $(fixtures)/,busybox.sh image.ts)
$(built)/layers.tar: $(recipes) $(addprefix $(fixtures)/,layers.ts layers-content.ts tree.ts) | $(node_modules) setup-test
	$(fixtures)/build.sh layers

$(built)/many-layers.tar: $(recipes) $(fixtures)/many-layers.ts | $(node_modules) setup-image
	$(fixtures)/build.sh many-layers

setup-image setup-test: setup-%:
	@scripts/setup.sh $*
