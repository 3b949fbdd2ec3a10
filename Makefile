# What one does here. `make help` lists it.
SHELL := /bin/bash
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TENURE := $(abspath $(TARGET_DIR))/debug/tenure
RELEASE := $(abspath $(TARGET_DIR))/x86_64-unknown-linux-gnu/release/tenure

.PHONY: help demo run test check web bench soak fuzz dist

help: ## list what one does here
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: web ## run with a sample organisation; CHECK=1 goes through its story to the end and exits
ifeq ($(CHECK),1)
	scripts/need.sh slapd
	cargo build --locked
	$(TENURE) demo --check
else
	cargo build --locked
	$(TENURE) demo
endif

run: web ## run the server on ./data
	cargo build --locked
	$(TENURE) serve

web: ## build the web UI that the binary embeds
	scripts/build-web.sh

check: ## format-independent checks: types and lints of both languages
	cargo clippy --locked --all-targets -- -D warnings
	cd web && npm run check

test: ## install what the tests need, build, run everything
	scripts/test.sh

bench: ## measure store and job queue beside bare rusqlite and BullMQ; LONG=1 passes 1,000,000 jobs
	benches/run.sh $(if $(filter 1,$(LONG)),--long)

soak: ## the long runs: 500 kills of the sample story; kills, stops and standstill under load
	TENURE_KILLS=500 cargo test --locked --test it crash -- --nocapture
	TENURE_SOAK=full cargo test --locked --test it soak -- --nocapture --test-threads=1

fuzz: ## bend what people write for ten minutes; FUZZ_SECONDS and FUZZ_SEED change it, finds are kept in tests/corpus/found
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} cargo test --locked --test it workflows_fuzz -- --nocapture --test-threads=1

dist: web ## the release binary: static, so that it needs nothing beside itself
	test -f web/dist/index.html
	# In a static binary the system call is asked for randomness directly: an empty root has no /dev. Equal functions
	# are kept once, and the relocations of a position-independent binary packed: three megabytes less.
	RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom" -C link-arg=-Wl,--icf=safe -C link-arg=-Wl,-z,pack-relative-relocs' \
		cargo build --locked --release --target x86_64-unknown-linux-gnu
	ls -l $(RELEASE)
