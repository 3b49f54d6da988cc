# The two commands of the README are `make demo` and `make test`; the others stand behind them.
#
# Everything is built with the locked dependencies. `tests/prepare` installs what a fresh Debian 12
# lacks (git, a C compiler, rustfmt, clippy) or says what is missing and stops.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
RELEASE_NODE := $(TARGET_DIR)/release/gitring-node

# Built git source tree for `make git-suite`, and its scripts.
GIT_SOURCE ?=
SCRIPTS ?=

# Bare repositories for `make real-repos`, and one for the clones of `make perf` (optional).
REPOS ?=
REPO ?=

# Arguments for `make load`: address of a server that speaks Gitaly's wire, repository, and more.
LOAD ?=

# How many seeds `make simulate` runs, from which on.
SEEDS ?= 1000000
FIRST_SEED ?= 0

# A stock Gitaly for `make beside`, and the git that it is to use if not the one in PATH.
GITALY ?=
GITALY_GIT ?=

# How long `make soak` loads a node.
MINUTES ?= 60

# How often `make crash` kills a node under pushes and updates of refs.
CRASHES ?= 500

.PHONY: demo test bench runtimes git-suite perf load soak real-repos simulate crash beside status-page \
	man deb prepare node

demo: prepare
	@$(CARGO) build --release --locked --quiet -p gitring-node
	@$(RELEASE_NODE) demo

test:
	@tests/prepare --lints
	@tests/check

bench: prepare
	@$(CARGO) bench --locked -p gitring-benches

# The ring beside tokio-uring and monoio, in a workspace of its own.
runtimes: prepare
	@$(CARGO) run --release --locked --quiet --manifest-path benches/runtimes/Cargo.toml

git-suite: node
	@test -n "$(GIT_SOURCE)" || { echo "usage: make git-suite GIT_SOURCE=/path/to/built/git"; exit 2; }
	@tests/git-suite --node $(abspath $(RELEASE_NODE)) $(GIT_SOURCE) $(SCRIPTS)

perf: node
	@$(CARGO) run --release --locked --quiet -p gitring-perf --bin measure -- $(REPO)

load: prepare
	@test -n "$(LOAD)" || { echo "usage: make load LOAD='--address tcp://host:port --repository a.git'"; exit 2; }
	@$(CARGO) run --release --locked --quiet -p gitring-perf --bin load -- $(LOAD)

soak: node
	@$(CARGO) run --release --locked --quiet -p gitring-perf --bin soak -- --minutes $(MINUTES)

real-repos: node
	@test -n "$(REPOS)" || { echo "usage: make real-repos REPOS='/path/a.git /path/b.git'"; exit 2; }
	@$(CARGO) run --release --locked --quiet -p gitring-perf --bin real-repos -- $(REPOS)

simulate: prepare
	@SEEDS=$(SEEDS) FIRST_SEED=$(FIRST_SEED) $(CARGO) test --release --locked --quiet \
		-p gitring-streamcache --test simulation -- --nocapture seeds::seeds

crash: prepare
	@$(CARGO) build --locked --quiet -p gitring-node
	@CRASHES=$(CRASHES) $(CARGO) test --locked --quiet -p gitring-tests --test main -- \
		--nocapture crash::

# The steps of node/guide/beside-gitaly.md, then the tests with a Gitaly behind the node.
beside: prepare
	@test -n "$(GITALY)" || { echo "usage: make beside GITALY=/path/to/gitaly [GITALY_GIT=/path/to/git]"; exit 2; }
	@$(CARGO) build --locked --quiet -p gitring-node
	@GITRING_TEST_GITALY=$(abspath $(GITALY)) $(if $(GITALY_GIT),GITRING_TEST_GITALY_GIT=$(abspath $(GITALY_GIT))) \
		$(CARGO) run --locked --quiet -p gitring-perf --bin beside
	@GITRING_TEST_GITALY=$(abspath $(GITALY)) $(if $(GITALY_GIT),GITRING_TEST_GITALY_GIT=$(abspath $(GITALY_GIT))) \
		$(CARGO) test --locked --quiet -p gitring-tests --test main -- relay::

# Man pages and completions, from the command line's own definition.
man: prepare
	@$(CARGO) run --locked --quiet -p gitring-node --features manual -- manual node/packaging/manual

# A Debian package below target/debian; needs cargo-deb (cargo install cargo-deb).
deb: man node
	@$(CARGO) deb --no-build --locked -p gitring-node

# Pictures of the status page of a node under load; needs a headless Chromium.
status-page: prepare
	@$(CARGO) build --locked --quiet -p gitring-node
	@tests/status-page $(TARGET_DIR)/debug/gitring-node $(TARGET_DIR)/status-page

node: prepare
	@$(CARGO) build --release --locked -p gitring-node

prepare:
	@tests/prepare
