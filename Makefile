# A front for Meson, so that `make`, `make run` and `make check` are all that one needs to know.
PREFIX ?= /usr/local
DESTDIR ?=

all: build

build: deps-build
	@tools/build build -Dtests=disabled

deps-build:
	@tools/install-deps build

# A short tour of the program on a store that is thrown away.
run: build
	@tools/run build/kist

# Everything that must hold before a change lands; the last line says how many checks passed.
check:
	@tools/install-deps build check
	@tools/check

bench:
	@tools/install-deps build bench
	@bench/run

fuzz:
	@tools/install-deps check
	@tools/fuzz

torture:
	@tools/install-deps build check
	@tools/torture

coverage:
	@tools/install-deps build check
	@tools/coverage

lint:
	@tools/install-deps check
	@tools/walls
	@tools/lint

format-check:
	@find src include tests examples bench -name '*.[ch]' -print0 | xargs -0r clang-format --dry-run -Werror

format:
	@tools/install-deps format
	@find src include tests examples bench -name '*.[ch]' -print0 | xargs -0r clang-format -i

install: deps-build
	@tools/build build -Dtests=disabled --prefix="$(PREFIX)"
	@DESTDIR="$(DESTDIR)" meson install -C build --no-rebuild --quiet
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

clean:
	@rm -rf build

.PHONY: all build deps-build run check bench fuzz torture coverage lint format format-check install clean
