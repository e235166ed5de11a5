# The two commands that matter: `make run` (a real agent behind the fence) and `make test` (everything).
# Both work as root and as an ordinary user who may use sudo for packages; what is installed already is left alone.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
OPENCODE := $(shell sed -n s/^OPENCODE_VERSION=//p image/versions.env)
# The official MCP SDKs that the suites drive `ocs mcp` with.
MCP_PYTHON := 2.3.0
MCP_NODE := 1.32.2
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
PRODUCT := -p orchestrator -p proxy -p netctl --bins

# To build: the C libraries behind nftnl, and a linker. To run: bubblewrap.
BUILD_PACKAGES := bubblewrap ca-certificates gcc libc6-dev libmnl-dev libnftnl-dev make pkg-config
# To make a world for `make run`, and to fetch and run the agent in it.
RUN_PACKAGES := $(BUILD_PACKAGES) bind9-dnsutils curl iproute2 nftables nodejs npm openssl util-linux
# Container engines, what podman needs without root, and what makes a base without pulling.
ENGINE_PACKAGES := catatonit debootstrap docker.io fuse-overlayfs podman slirp4netns uidmap

# The real clients of the suites.
TEST_PACKAGES := $(RUN_PACKAGES) bsdutils docker-compose faketime git iputils-ping netcat-openbsd openssh-client patch \
	procps python3 python3-jsonschema python3-pip python3-requests python3-yaml socat strace valgrind wget $(ENGINE_PACKAGES)

# The fuzzing engine is C++.
FUZZ_PACKAGES := $(BUILD_PACKAGES) g++
FUZZ_SECONDS := 60

# Real clients and the servers that they talk to; the rest of them are no Debian packages (tests/clients/install.sh).
CLIENT_PACKAGES := default-jdk-headless golang-go openssh-server postgresql postgresql-client python3-pip redis-server redis-tools

# The peers that are measured beside us, and the origin of all.
BENCH_PACKAGES := $(BUILD_PACKAGES) nginx-light nodejs npm openssl ripgrep socat squid tinyproxy util-linux
SANDBOX_RUNTIME := 0.0.78

.PHONY: help run test bench record-load soak mutants fuzz packages-fuzz packages-bench build check fmt clippy doc unit worlds deny images packages-images packages-build packages-run packages-test toolchain agent mcp-clients clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: packages-run toolchain agent ## a real OpenCode behind the fence, in a private world; no account, no daemon
	cargo build --release $(PRODUCT)
	cargo build -p tests --bins
	OCS_BIN_DIR=$(abspath $(TARGET))/release OCS_AGENT_DIR=$(abspath $(TARGET))/agent $(TARGET)/debug/demo

test: packages-test clients-packages toolchain agent mcp-clients ## format, lints, docs, unit, property, corpus and namespace suites, and the agent
	tests/all.sh

build: packages-build toolchain ## the three programs, released, into target/release
	cargo build --release $(PRODUCT)

bench: packages-bench toolchain $(TARGET)/srt/$(SANDBOX_RUNTIME) ## ocs-proxy beside the kernel's own floor, Squid and tinyproxy; start-up, growth; needs root
	cargo build --release $(PRODUCT) -p bench
	printf '127.0.0.1 localhost origin.test\n' >$(TARGET)/bench.hosts
	$(SUDO) unshare --mount sh -c 'mount --bind $(abspath $(TARGET))/bench.hosts /etc/hosts && mount -t tmpfs tmpfs /dev/shm && \
	  exec $(abspath $(TARGET))/release/bench --binaries $(abspath $(TARGET))/release --raw $(abspath $(TARGET))/bench.tsv --plots $(abspath $(TARGET)) $(BENCH)'

$(TARGET)/srt/$(SANDBOX_RUNTIME):
	rm -rf $(TARGET)/srt && mkdir -p $(TARGET)/srt
	npm install --prefix $(TARGET)/srt --no-audit --no-fund --silent --save-exact @anthropic-ai/sandbox-runtime@$(SANDBOX_RUNTIME)
	touch $@

.PHONY: bench-check
bench-check: packages-test toolchain ## instructions of the decide and parse paths beside bench/baseline.tsv, or BASE=COMMIT; 5 % more fails
	bench/check.sh $(BASE)

fuzz: packages-fuzz toolchain ## every fuzz target for FUZZ_SECONDS (60) each; FUZZ_TARGETS="host .." for some (needs cargo-fuzz)
	@cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing; cargo install --locked cargo-fuzz" >&2; exit 1; }
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_LOGS=$(abspath $(TARGET))/fuzz-logs fuzz/run.sh $(FUZZ_TARGETS)

soak: toolchain ## a million requests through the released proxy; its memory, descriptors and threads stay as they are
	cargo test --release -p proxy --test wire -- --ignored --nocapture a_million_requests

mutants: toolchain ## what decides, changed in every way that cargo-mutants knows: a test must notice (needs cargo-mutants)
	@cargo mutants --version >/dev/null 2>&1 || { echo "cargo-mutants is missing; cargo install --locked cargo-mutants" >&2; exit 1; }
	cargo mutants --package policies -f policies/src/decide.rs -f policies/src/pin.rs --output $(TARGET)/mutants/policies -- --lib --test properties
	cargo mutants --package netctl -f netctl/src/plan.rs -f 'netctl/src/plan/*.rs' --output $(TARGET)/mutants/netctl -- --lib --test properties
	cargo mutants --package proxy -f proxy/src/classify.rs --output $(TARGET)/mutants/proxy -- --lib classify

check: fmt clippy doc ## format, lints and docs only

fmt: toolchain
	cargo fmt --all --check

clippy: toolchain
	cargo clippy --workspace --all-targets -- -D warnings

doc: toolchain
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

unit: toolchain ## tests that need nothing: unit, property, corpus, loopback
	cargo test --workspace --exclude tests

worlds: clients-packages toolchain agent mcp-clients ## tests in namespaces of their own, with real clients
	cargo build $(PRODUCT)
	OCS_BIN_DIR=$(abspath $(TARGET))/debug OCS_AGENT_DIR=$(abspath $(TARGET))/agent cargo test -p tests

record-load: toolchain ## a million events of the record through rotation and a kill in the middle
	cargo test --release -p proxy --test wire -- --ignored --nocapture a_million_events

.PHONY: clients clients-packages
clients: clients-packages toolchain ## real clients with and without proxy variables, and docs/clients.md from that run
	cargo build $(PRODUCT)
	rm -rf $(TARGET)/clients/rows
	OCS_BIN_DIR=$(abspath $(TARGET))/debug cargo test -p tests --test clients -- --test-threads=1
	cargo run -q -p tests --bin clients-table -- "$$(nproc) cores, Linux $$(uname -r | cut -d. -f1,2)" >$(TARGET)/clients.md
	cp $(TARGET)/clients.md docs/clients.md

.PHONY: battery
battery: packages-test packages-bench toolchain ## every escape of the catalogue; PEER=squid or tinyproxy tries them on that proxy
	tests/battery.sh $(PEER)

images: packages-images toolchain ## the images, built for real on a base made here; root, the network and some minutes
	cargo build $(PRODUCT)
	OCS_BIN_DIR=$(abspath $(TARGET))/debug cargo test -p tests --test images -- --ignored

deny: toolchain ## licences, advisories, sources and duplicates of the dependencies (needs cargo-deny)
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing; cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny check

# $(call want,PACKAGES): installs those that are missing, and nothing else.
define want
	@missing=(); for package in $(1); do \
	  dpkg-query -W -f='$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$$package"); done; \
	if [ "$${#missing[@]}" -gt 0 ]; then \
	  command -v apt-get >/dev/null || { echo "install these first (no apt-get here): $${missing[*]}" >&2; exit 1; }; \
	  echo "installing: $${missing[*]}"; \
	  $(SUDO) apt-get update -qq; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi
endef

packages-bench:
	$(call want,$(if $(NODE),$(filter-out nodejs npm,$(BENCH_PACKAGES)),$(BENCH_PACKAGES)))

packages-build:
	$(call want,$(BUILD_PACKAGES))

packages-fuzz:
	$(call want,$(FUZZ_PACKAGES))

# Another node than Debian's counts if it lies in /usr, which the box shows: Debian's npm would be hundreds of packages.
NODE := $(shell command -v npm >/dev/null && command -v node | grep '^/usr/')
packages-run:
	$(call want,$(if $(NODE),$(filter-out nodejs npm,$(RUN_PACKAGES)),$(RUN_PACKAGES)))

clients-packages: packages-test toolchain
	$(call want,$(CLIENT_PACKAGES))
	tests/clients/install.sh $(TARGET)/clients

packages-images:
	$(call want,$(BUILD_PACKAGES) $(ENGINE_PACKAGES))

packages-test:
	$(call want,$(if $(NODE),$(filter-out nodejs npm,$(TEST_PACKAGES)),$(TEST_PACKAGES)))

toolchain:
	@command -v cargo >/dev/null || { echo "cargo is missing: https://rustup.rs, or apt install rustup && rustup default stable" >&2; exit 1; }
	@have=$$(rustc --version | cut -d' ' -f2); want=$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml); \
	printf '%s\n%s\n' "$$want" "$$have" | sort -V -C || { echo "rustc $$have is too old, $$want or later is needed: rustup update stable" >&2; exit 1; }

# The official SDKs, as clients of `ocs mcp`.
mcp-clients: $(TARGET)/mcp/sdks-$(MCP_PYTHON)-$(MCP_NODE)

$(TARGET)/mcp/sdks-$(MCP_PYTHON)-$(MCP_NODE):
	rm -rf $(TARGET)/mcp && mkdir -p $(TARGET)/mcp
	/usr/bin/python3 -m pip install --quiet --target $(TARGET)/mcp/py mcp==$(MCP_PYTHON)
	npm install --prefix $(TARGET)/mcp --no-audit --no-fund --silent --save-exact @modelcontextprotocol/sdk@$(MCP_NODE)
	touch $@

agent: $(TARGET)/agent/opencode-$(OPENCODE)

# The agent's platform binary comes as an optional package; its install script may be switched off, so it is asked.
$(TARGET)/agent/opencode-$(OPENCODE):
	rm -rf $(TARGET)/agent && mkdir -p $(TARGET)/agent
	npm install --prefix $(TARGET)/agent --no-audit --no-fund --silent --save-exact opencode-ai@$(OPENCODE)
	cd $(TARGET)/agent/node_modules/opencode-ai && { ../.bin/opencode --version >/dev/null 2>&1 || node postinstall.mjs; }
	test "$$($(TARGET)/agent/node_modules/.bin/opencode --version)" = $(OPENCODE)
	touch $@

clean: ## what was built
	cargo clean
