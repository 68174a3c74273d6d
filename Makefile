# What to type: make run, make test. Everything else serves these two.

SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
BUILD_PACKAGES := libssl-dev libsqlite3-dev libmicrohttpd-dev libunistring-dev libidn2-dev
TEST_PACKAGES := python3 python3-venv openssl prometheus prometheus-alertmanager profanity \
    go-sendxmpp tmux gcc libc6-dev nut-server nut-client nftables
