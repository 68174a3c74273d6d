# What to type: make run, make test. Everything else serves these two.

SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
BUILD_PACKAGES := libssl-dev libsqlite3-dev libmicrohttpd-dev libunistring-dev libidn2-dev \
    libcurl4-openssl-dev libc-ares-dev
# Programs that the Swift tests start.
SWIFT_TEST_PACKAGES := python3 curl rsync openssh-server openssh-client rclone age sqlite3 cron dosfstools \
    dnsmasq-base python3-h2
TEST_PACKAGES := $(SWIFT_TEST_PACKAGES) python3-venv openssl prometheus prometheus-alertmanager profanity \
    go-sendxmpp tmux gcc libc6-dev nut-server nut-client nftables iproute2 prosody ejabberd \
    erlang-p1-sqlite3 gnupg
PACKAGING_PACKAGES := dpkg-dev binutils
PACKAGE_TEST_PACKAGES := mmdebstrap
IMAGE_TEST_PACKAGES := skopeo umoci runc qemu-user
# A build for the Pi has its compiler and libraries in a cache, from Debian's archive.
ARM64_PACKAGES := $(PACKAGING_PACKAGES) debian-archive-keyring git util-linux ca-certificates openssl \
    python3-venv

BENCH_PACKAGES := gcc libc6-dev openssl
VENV := .build/venv
SOURCES := Sources Tests Package.swift
PREFIX ?= /usr
VERSION := $(shell sed -n 's/.*let version = "\(.*\)"/\1/p' Sources/Features/Software.swift)
PACKAGE = .build/kinglet_$(VERSION)_$$(dpkg --print-architecture).deb
# What ships needs no Swift runtime on the machine.
RELEASE := -c release --static-swift-stdlib --product kinglet

.DEFAULT_GOAL := help
.PHONY: help deps deps-test deps-arm64 venv build run install deb deb-arm64 arm64-lock test test-swift \
    test-clients test-deb test-arm64 test-image boot-arm64 image bench-instructions check-6.2 \
    check-6.2-if-cached crash fuzz backup-soak bench bench-backup \
    bench-federation bench-push soak readings readme dashboards lint format clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# As root. The services of these packages would take ports that a real server wants: none is started,
# and of what is installed here none at the next boot.
define INSTALL
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $$policy ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >$$policy
    chmod 755 $$policy
fi
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$$@"
for package; do
    if [ -e /etc/init.d/$$package ]; then update-rc.d $$package disable; fi
done
endef
export INSTALL

# Installs the packages named in PACKAGES that are missing: as root, with sudo, or not at all, and
# then it says what to type.
define install_packages
	@missing=""; \
	for package in $(1); do \
	    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q '^install ok installed' \
	        || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	    command="apt-get install -y --no-install-recommends$$missing"; \
	    echo "Installing Debian packages:$$missing"; \
	    if [ "$$(id -u)" = 0 ]; then \
	        bash -c "$$INSTALL" install $$missing >.deps.log 2>&1; \
	    elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then \
	        sudo bash -c "$$INSTALL" install $$missing >.deps.log 2>&1; \
	    else \
	        echo "This needs root. Type: sudo apt-get update && sudo $$command" >&2; exit 1; \
	    fi || { tail -n 20 .deps.log >&2; \
	        echo "apt-get failed (above); the whole log is in .deps.log" >&2; exit 1; }; \
	    rm -f .deps.log; \
	fi
endef

deps: ## Install the Debian packages that the build needs
	$(call install_packages,$(BUILD_PACKAGES))
	@command -v swift >/dev/null || { \
	    echo "There is no Swift toolchain (6.2 or newer): see https://www.swift.org/install" >&2; \
	    exit 1; }

deps-test: deps
	$(call install_packages,$(TEST_PACKAGES))
	@$(MAKE) --no-print-directory venv

venv:
	@if ! cmp -s Tests/Clients/requirements.txt $(VENV)/requirements.txt; then \
	    echo "Installing Python packages into $(VENV)"; \
	    rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) \
	        && $(VENV)/bin/pip install -q --disable-pip-version-check \
	            -r Tests/Clients/requirements.txt \
	        && cp Tests/Clients/requirements.txt $(VENV)/requirements.txt; \
	fi

build: deps ## Build the release binary
	@echo "Building (the first time takes some minutes)"
	@swift build --no-color-diagnostics $(RELEASE)

run: build ## Build and start a server; asks for a domain on a terminal
	@exec .build/release/kinglet serve --init

install: build ## Install below PREFIX=/usr, or below DESTDIR for a package
	@packaging/install "$$(swift build $(RELEASE) --show-bin-path)/kinglet" $(PREFIX) $(DESTDIR)

deb: build ## Make the Debian package, .build/kinglet_VERSION_ARCHITECTURE.deb
	$(call install_packages,$(PACKAGING_PACKAGES))
	@packaging/build $(VERSION) .build/package "$$(swift build $(RELEASE) --show-bin-path)/kinglet"
	@ls -sh $(PACKAGE)

# For the Pi, from Debian's packages: compiler, libraries and emulator, each as the lock says.
ARM64 := $(VENV)/bin/python packaging/arm64/arm64.py

deps-arm64:
	$(call install_packages,$(ARM64_PACKAGES))
	@$(MAKE) --no-print-directory venv

deb-arm64: deps-arm64 ## Make the Debian package for the Pi, on a PC: .build/kinglet_VERSION_arm64.deb
	@$(ARM64) deb

arm64-lock: deps-arm64 ## Take the mirror's versions of what the Pi's package is built with: SETS="image-amd64 image-arm64"
	@$(ARM64) lock $(if $(SETS),--sets $(SETS))

check-6.2: deps-arm64 ## Compile with the oldest compiler that the sources are for
	@$(ARM64) check

check-6.2-if-cached: deps-arm64
	@$(ARM64) check --if-cached

test: check-6.2-if-cached test-swift test-clients ## Run every test

# So many Swift tests are under way at a time: enough that those which wait for a socket or a thread
# hold up nobody. All of them at once, on a few cores, each wait for minutes between two steps, and
# what has a time limit fails by chance. Swift before 6.3 does not know the variable.
TEST_WIDTH ?= 16

test-swift: deps
	$(call install_packages,$(SWIFT_TEST_PACKAGES))
	@echo "Building the tests (the first time takes some minutes)"
	@swift build --no-color-diagnostics --build-tests
	@SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$(TEST_WIDTH) \
	    swift test --no-color-diagnostics --skip-build --parallel

# Files of client tests that mostly wait: two of them are under way at a time. The others are alone,
# for they look at the clock, the disk or the network of the machine more closely.
CLIENT_TESTS ?= 2
WAITING_TESTS = $(wildcard $(addprefix Tests/Clients/,test_push_*.py test_unified_push.py \
    test_fake_*.py test_alerts.py test_bad_machine.py test_dashboard*.py test_ups.py \
    test_prometheus*.py test_machine_memory.py test_firmware_mailbox.py)) Tests/Packaging
PYTEST = $(VENV)/bin/python -m pytest -q -c Tests/Clients/pytest.ini --rootdir .

test-clients: deps-test
	@swift build --no-color-diagnostics --product kinglet
	@$(PYTEST) -n $(CLIENT_TESTS) --dist loadfile $(WAITING_TESTS)
	@$(PYTEST) $(addprefix --ignore=,$(WAITING_TESTS)) Tests/Clients Benchmarks

crash: deps-test ## Kill the server under load, 300 times in each mode: RUNS=50 MODE=kill|restart|fail|forget
	@swift build --no-color-diagnostics --product kinglet
	@$(VENV)/bin/python Tests/Crash/crash.py $(if $(RUNS),--runs $(RUNS)) \
	    $(if $(MODE),--mode $(MODE)) $(if $(SEED),--seed $(SEED))

backup-soak: deps-test ## Back up 100 times with load, kills and faults; RUNS=20 SEED=7
	@swift build --no-color-diagnostics --product kinglet
	@$(VENV)/bin/python Tests/Crash/backup_soak.py $(if $(RUNS),--runs $(RUNS)) \
	    $(if $(SEED),--seed $(SEED))

deps-bench: deps
	$(call install_packages,$(BENCH_PACKAGES))

bench: deps-bench build ## Compare with ejabberd and Prosody; ROUNDS=1 SERVERS=kinglet IDLE=1000 is quick
	@$(PYTHON) Benchmarks/bench.py $(if $(ROUNDS),--rounds $(ROUNDS)) \
	    $(if $(SERVERS),--servers $(SERVERS)) $(if $(IDLE),--idle $(IDLE)) \
	    $(if $(PARTS),--parts $(PARTS)) $(if $(STALLS),--stalls $(STALLS)) \
	    $(if $(ROWS),--rows $(ROWS)) $(if $(KINGLET),--kinglet $(KINGLET))

soak: deps-bench build ## Talk for an hour while clients come and go; DURATION=600 RATE=100 are seconds, messages/s
	@$(PYTHON) Benchmarks/soak.py $(if $(DURATION),--seconds $(DURATION)) \
	    $(if $(RATE),--rate $(RATE)) $(if $(KINGLET),--kinglet $(KINGLET))

readings: deps-bench build ## Measure what reading the machine costs: CPU, and writes to the card
	@$(PYTHON) Benchmarks/readings.py $(if $(KINGLET),--kinglet $(KINGLET))

bench-backup: deps-bench build ## Measure what backups cost (needs root, 40 GB in /var/tmp)
	$(call install_packages,rsync)
	@$(PYTHON) Benchmarks/backup.py $(if $(KINGLET),--kinglet $(KINGLET))

bench-federation: deps-bench deps-test build ## Measure what other servers cost: ROUNDS=1 PARTS=messages,unreachable,idle
	@$(VENV)/bin/python Benchmarks/federation.py $(if $(ROUNDS),--rounds $(ROUNDS)) \
	    $(if $(PARTS),--parts $(PARTS)) $(if $(KINGLET),--kinglet $(KINGLET))

bench-push: deps-bench deps-test build ## Measure what waking phones costs: ROUNDS=1 PARTS=sending,many
	@$(VENV)/bin/python Benchmarks/push_batches.py $(if $(KINGLET),--kinglet $(KINGLET))
	@$(VENV)/bin/python Benchmarks/push.py $(if $(ROUNDS),--rounds $(ROUNDS)) \
	    $(if $(PARTS),--parts $(PARTS)) $(if $(KINGLET),--kinglet $(KINGLET))

test-arm64: deps-arm64 ## Run the unit tests as a Pi's processor would
	$(call install_packages,$(SWIFT_TEST_PACKAGES))
	@$(ARM64) tests $(if $(FILTER),--filter "$(FILTER)")

boot-arm64: deps-arm64 ## Boot emulated Pis with Debian's kernel and the package of make deb-arm64
	@$(ARM64) boot

image: deps-arm64 ## Make the container image of both packages: .build/kinglet_VERSION.oci.tar
	@$(ARM64) image

test-image: deps-arm64 ## Start the container image of make image (needs root)
	$(call install_packages,$(IMAGE_TEST_PACKAGES))
	@KINGLET_IMAGE=.build/kinglet_$(VERSION).oci.tar \
	    $(VENV)/bin/python -m pytest -q Tests/Package/test_image.py

bench-instructions: deps-arm64 ## Count a Pi's instructions per login and message, and ejabberd's and Prosody's
	$(call install_packages,$(BENCH_PACKAGES) libssl-dev qemu-user)
	@$(ARM64) count $(if $(SERVERS),--servers $(SERVERS))

test-deb: deb deps-test ## Install, run and purge the package in a clean chroot (needs root)
	$(call install_packages,$(PACKAGE_TEST_PACKAGES))
	@KINGLET_PACKAGE=$(PACKAGE) \
	    $(VENV)/bin/python -m pytest -q Tests/Package/test_package.py

readme: deps-test ## Write the README's tables anew, from the declarations in the code
	@swift build --no-color-diagnostics --product kinglet
	@$(VENV)/bin/python Tests/Clients/readme.py

dashboards: ## Write dashboards/*.json anew, from the declarations in dashboards/source
	@$(PYTHON) dashboards/generate.py

# make fuzz TARGET=xml SECONDS=60; INPUT=file runs that one alone.
FUZZ := .build/fuzz/release/fuzz
CORPUS := Tests/Fixtures/fuzz
TARGET ?= xml addresses sasl stanzas backup dns
SECONDS ?= 600

fuzz: deps ## Fuzz what strangers send, 10 minutes each: TARGET=xml SECONDS=60
	@KINGLET_FUZZ=1 swift build --no-color-diagnostics -c release --sanitize=fuzzer -Xswiftc -enable-testing \
	    --scratch-path .build/fuzz --product fuzz
	@export SWIFT_BACKTRACE=enable=no; for target in $(TARGET); do \
	    crashes=$(CORPUS)/crashes/$$target; found=.build/fuzz/found/$$target; \
	    mkdir -p $$crashes $$found; \
	    echo "Fuzzing $$target"; \
	    FUZZ_TARGET=$$target $(FUZZ) $(if $(INPUT),$(INPUT),-max_total_time=$(SECONDS) \
	        -print_final_stats=1 -max_len=1024 -timeout=20 -rss_limit_mb=2048 \
	        -dict=$(CORPUS)/$$target.dict -artifact_prefix=$$crashes/ \
	        $$found $(CORPUS)/$$target) 2>$$found.log \
	        || { grep -aE "ERROR|SUMMARY|Test unit written" $$found.log; \
	            echo "Again: make fuzz TARGET=$$target INPUT=<that file>. Once it is mended, move" \
	                "the file to $(CORPUS)/$$target; the whole log: $$found.log"; exit 1; }; \
	    grep -aE "cov: |stat::(number|average)" $$found.log | tail -n 3; \
	done

lint: ## Check the format of the sources
	@swift format lint --strict --parallel -r $(SOURCES)

format: ## Format the sources
	@swift format -i --parallel -r $(SOURCES)

clean: ## Remove what was built
	@rm -rf .build
