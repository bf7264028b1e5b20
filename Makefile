# make test    everything, from a fresh clone: the one command
# make lint    gofmt, go vet for every platform, staticcheck, the direction of imports
# make race    the tests under the race detector
# make fuzz    every fuzz target for FUZZTIME
# make bench   every benchmark once
# make bench-short   how uploads compare with other servers, in two minutes

# Debian packages the tests need beside Go: the peers that are not written in
# Go. They are installed when this runs as root, and asked for otherwise.
# RUNLEVEL=1 keeps a package from starting a service: the tests start their own.
# Where they come from elsewhere (not Debian, a virtual environment): PACKAGES=
PACKAGES ?= python3-websockets python3-tqdm python3-setuptools python3-wheel chromium nginx node-typescript $(NPM)

# Debian's npm is not for a Node.js from elsewhere, which brings its own.
NPM := $(if $(shell command -v npm 2>/dev/null),,npm)

# The Python which sees those packages; another may come first in PATH.
export WSINGEST_PYTHON ?= /usr/bin/python3

# A directory with websockets 14 or later, whose interface is another than that
# of Debian 12's package. It is filled with Debian 13's when it is not there.
export WSINGEST_WEBSOCKETS ?= $(HOME)/.cache/wsingest/websockets

GO          ?= go
TESTTIMEOUT ?= 20m
FUZZTIME    ?= 10s
RACEFLAGS   ?= -short
PLATFORMS   := linux darwin windows freebsd

# Run at a version, not required in go.mod: who imports this module does not
# get the linter's requirements into theirs.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: test lint race fuzz bench bench-short packages prepare

# Clients with a ping timeout of half a second stand for those with twenty: what
# they live through says something only where nothing else runs. make test
# prints who lived through what. Under the race detector fewer are tried, and
# their ping timeout is a second.
ALONE := ./middleware/internal/situations

# A browser takes a whole machine, and the clients in Python do: one of these at a
# time. The race detector sees nothing of them, so of what is different in them
# alone little is repeated under it.
PEERS  := ./examples/conformance ./examples/quickstart ./examples/uppy ./examples/python
OTHERS  = $$($(GO) list ./... | grep -vE '/(situations|conformance|quickstart|uppy|python)$$')

test: prepare
	$(GO) test -timeout $(TESTTIMEOUT) $(OTHERS)
	$(GO) test -p 1 -timeout $(TESTTIMEOUT) $(PEERS)
	$(GO) test -v -timeout $(TESTTIMEOUT) $(ALONE)

packages:
	@missing=; \
	for p in $(PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing$$missing"; \
		apt-get update -qq && \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing </dev/null >/dev/null; \
	else \
		echo "The tests need these Debian packages:$$missing"; \
		echo "Install them:  sudo apt-get install$$missing"; \
		echo "or, when you have the same from elsewhere:  make test PACKAGES= WSINGEST_PYTHON=/path/to/python3"; \
		exit 1; \
	fi
	@[ -d "$(WSINGEST_WEBSOCKETS)/websockets" ] || sh examples/python/testdata/websockets.sh "$(WSINGEST_WEBSOCKETS)"

# Tests build programs, the Caddy of xcaddy among them. What these need is
# fetched and compiled before, since the clock of a test should not run
# meanwhile: with the flags of xcaddy, most of it is compiled a second time.
prepare: packages
	$(GO) mod download
	cd examples/caddy/xcaddy && $(GO) mod download
	$(GO) tool -C resume/s3store/testdata/versitygw -n versitygw >/dev/null
	$(GO) build ./...
	$(GO) build -trimpath -tags nobadger,nomysql,nopgx -o /dev/null ./examples/caddy

lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w these:"; echo "$$unformatted"; exit 1; }
	@for os in $(PLATFORMS); do echo "go vet, $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) vet ./... || exit 1; done
	$(GO) run $(STATICCHECK) ./...
	@deps=$$($(GO) list -deps ./middleware/... ./resume/...) || exit 1; \
	if echo "$$deps" | grep -E '^github\.com/caddyserver/|^$(shell $(GO) list -m)/caddymodule'; then \
		echo "the packages above are Caddy's; middleware and resume must do without"; exit 1; \
	fi

# What go vet has to say, lint says.
race: prepare
	$(GO) test -race -vet=off $(RACEFLAGS) -timeout $(TESTTIMEOUT) $(OTHERS)
	$(GO) test -race -vet=off $(RACEFLAGS) -p 1 -timeout $(TESTTIMEOUT) $(PEERS)
	$(GO) test -race -vet=off $(RACEFLAGS) -timeout $(TESTTIMEOUT) $(ALONE)

fuzz:
	@pkgs=$$($(GO) list ./...) || exit 1; \
	for pkg in $$pkgs; do \
		targets=$$($(GO) test -list '^Fuzz' $$pkg) || exit 1; \
		for f in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$pkg $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# It prints how it compares, and fails only when something could not be
# measured: a machine that runs other things besides is no place to judge speed.
bench-short:
	cd examples/bench && $(GO) vet . && $(GO) test . && $(GO) run . -short
