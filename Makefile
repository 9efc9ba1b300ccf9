# make demo   shows the main job on the mail in testdata/demo
# make test   installs what the tests need, then runs all of them
# make build  makes bin/salvor
# make fuzz   gives every fuzz target FUZZTIME
# make bench  compares with restic and borg; BENCHFLAGS="-small" for a quick try,
#             BENCHFLAGS=-servers beside mbsync and doveadm on mail servers,
#             BENCHFLAGS=-eta how right a restore's time to come is,
#             BENCHFLAGS=-salvage beside PhotoRec and others on damaged disks

SHELL   := /bin/bash
GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME   ?= 10s
BENCHFLAGS ?=
PREFIX  ?= /usr/local

# The version is stamped by hand: a clone without git, or a git that refuses
# somebody else's directory, must not stop a build.
export GOFLAGS := -buildvcs=false $(filter-out -buildvcs=%,$(GOFLAGS))

.PHONY: build demo test check fuzz bench man install clean

build:
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/salvor ./cmd/salvor

demo: build
	@.ci/demo

test: check
	@.ci/setup
	@set -o pipefail; $(GO) test -json -timeout 10m ./... | $(GO) run .ci/report.go

check:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'd:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...

fuzz:
	@set -e; grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file"); do \
			echo "$$target in $$(dirname "$$file")"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
		done; \
	done

bench: build
	$(GO) run ./internal/bench $(BENCHFLAGS)

man:
	@go generate ./cmd/salvor

install: build
	install -D -m 755 bin/salvor $(DESTDIR)$(PREFIX)/bin/salvor
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -D -m 644 -t $(DESTDIR)/etc/systemd/system docs/systemd/*.service docs/systemd/*.timer

clean:
	rm -rf bin out
